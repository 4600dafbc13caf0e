use syntrix_storage_core::{Error, ErrorKind};

use super::*;
use crate::corpus::{self, REQUIREMENT, postgres, routed, routed_user};
use crate::diagnostic::Diagnostic;
use crate::plan::{Mirror, Reads, Strategy, Writes};
use crate::testing::{CANARY, TestEnvironment, factories};

fn environment() -> TestEnvironment {
    let environment = TestEnvironment::new()
        .with("DSN", CANARY)
        .with("PASSWORD", CANARY)
        .with("NUMBER", "7")
        .with("FLAG", "true")
        .with("DURATION", "5s")
        .with("STRATEGY", "dual-write");
    environment.write("secret", &format!("{CANARY}\n"));
    environment
}

fn plan(text: &str) -> StoragePlan {
    check(text, "f.yaml", &factories(), &environment())
        .unwrap_or_else(|errors| panic!("{text}\n{errors}"))
}

fn faults(text: &str) -> Vec<Diagnostic> {
    let Err(errors) = check(text, "f.yaml", &factories(), &environment()) else {
        panic!("accepted:\n{text}");
    };
    let printed = format!("{errors} {errors:?} {:?}", Error::from(errors.clone()));
    assert!(!printed.contains(CANARY), "{printed}");
    errors.diagnostics().to_vec()
}

/// Key, line, column and message of the only fault.
fn fault(text: &str) -> (String, u32, u32, String) {
    let faults = faults(text);
    assert_eq!(faults.len(), 1, "{faults:#?}");
    let place = faults[0].location();
    (faults[0].key().into(), place.line, place.column, faults[0].message().into())
}

#[test]
fn the_example_of_the_requirement_passes_as_written() {
    let plan = plan(REQUIREMENT);
    let documents = plan.documents.as_ref().unwrap();
    assert_eq!(documents.route, Route::single("mongo"));
    assert_eq!(documents.primary().unwrap().kind, "mongo");
    assert_eq!(plan.store(StoreKind::Users).unwrap().route.primary, "pg");
    assert_eq!(plan.store(StoreKind::Revocations).unwrap().route.primary, "redis");

    let warnings: Vec<_> =
        plan.warnings.iter().map(|warning| (warning.key(), warning.location().line)).collect();
    assert_eq!(
        warnings,
        [
            ("storage.document.mongo.softDeleteRetention", 9),
            ("storage.routing.document.shadow", 24)
        ]
    );
    assert_eq!(
        plan.warnings[1].message(),
        "`strategy: single` ignores the shadow, and `pg-doc` names no block of this section"
    );
}

#[test]
fn everything_that_is_right_passes() {
    for text in corpus::accepted() {
        plan(&text);
    }
}

#[test]
fn everything_that_is_wrong_is_refused_with_its_place_and_without_values() {
    for text in corpus::refused().into_iter().chain(corpus::refused_by_parser_only()) {
        for fault in faults(&text) {
            assert!(fault.location().is_known(), "{text}\n{fault}");
            assert!(!fault.to_string().contains("hunter2"), "{fault}");
        }
    }
}

/// REG-01.
#[test]
fn an_unknown_kind_is_refused_with_the_list_of_kinds() {
    let text = "storage:\n  user:\n    backend: main\n    main:\n      kind: postgres\n";
    let faults = faults(text);
    assert_eq!(faults[0].key(), "storage.user.main.kind");
    assert_eq!(faults[0].location(), Location::new(5, 13));
    let printed = faults[0].to_string();
    assert!(printed.contains("no backend of kind `postgres`"), "{printed}");
    assert!(printed.contains("memory, mongo, pg, redis, sqlite"), "{printed}");
    assert!(printed.contains("5 |       kind: postgres\n  |             ^"), "{printed}");
}

/// REG-04.
#[test]
fn an_unknown_key_is_refused_with_its_path_and_the_nearest_one() {
    let (key, line, column, message) = fault("storage:\n  documnt:\n    backend: pg\n");
    assert_eq!((key.as_str(), line, column), ("storage.documnt", 2, 3));
    assert_eq!(message, "unknown key `documnt`; did you mean `document`?");
    let (key, line, _, message) = fault(&postgres("dsn: canary-hunter2, tsl: true"));
    assert_eq!((key.as_str(), line), ("storage.document.pg.tsl", 4));
    assert!(message.contains("did you mean `tls`?"), "{message}");
    let (key, _, _, message) =
        fault("storage:\n  user:\n    memory: {}\n    backend: memory\n    backnd: memory\n");
    assert_eq!(
        (key.as_str(), message.as_str()),
        ("storage.user.backnd", "unknown key `backnd`; did you mean `backend`?")
    );
}

/// REG-05.
#[test]
fn all_faults_are_reported_together_in_the_order_of_the_file() {
    let text = "storage:\n  document:\n    backend: pgg\n    pg:\n      dsn: 5\n      poolConnectionsMax: canary-hunter2\n      \
                acquireTimeout: 5\n      color: x\n  user:\n    backend: sqlit\n    sqlite: {path: ../x}\n  \
                revocation:\n    backend: redis\n    redis: {addr: \"${MISSING}\"}\n  \
                routing:\n    document: {strategy: dual, shadw: x}\n    user: {strategy: dual-write, writes: primary}\n";
    let faults = faults(text);
    let keys: Vec<_> = faults.iter().map(|fault| (fault.location().line, fault.key())).collect();
    assert_eq!(
        keys,
        [
            (3, "storage.document.backend"),
            (5, "storage.document.pg.dsn"),
            (6, "storage.document.pg.poolConnectionsMax"),
            (7, "storage.document.pg.acquireTimeout"),
            (8, "storage.document.pg.color"),
            (10, "storage.user.backend"),
            (11, "storage.user.sqlite.path"),
            (14, "storage.revocation.redis.addr"),
            (16, "storage.routing.document.strategy"),
            (16, "storage.routing.document.shadw"),
            (17, "storage.routing.user.shadow"),
            (17, "storage.routing.user.writes"),
        ]
    );
}

/// REG-06.
#[test]
fn a_missing_key_is_reported_at_its_block() {
    let text = "storage:\n  document:\n    backend: pg\n    pg:\n      tls: true\n";
    assert_eq!(
        fault(text),
        ("storage.document.pg.dsn".into(), 4, 5, "the key `dsn` is missing".into())
    );
    let (key, line, column, _) = fault("storage:\n  user:\n    memory: {}\n");
    assert_eq!((key.as_str(), line, column), ("storage.user.backend", 2, 3));
}

/// REG-07.
#[test]
fn a_key_of_another_kind_is_refused() {
    let text =
        "storage: {user: {backend: sqlite, sqlite: {path: x, replicaUri: canary-hunter2}}}\n";
    assert_eq!(fault(text).0, "storage.user.sqlite.replicaUri");
}

#[test]
fn a_store_that_a_backend_does_not_offer_is_refused_with_the_reason() {
    let text = "storage:\n  document:\n    backend: redis\n    redis: {addr: canary-hunter2}\n";
    let faults = faults(text);
    assert_eq!(
        (faults[0].key(), faults[0].location()),
        ("storage.document.redis", Location::new(4, 5))
    );
    assert!(
        faults[0]
            .message()
            .contains("`redis` offers revocations only; documents on it could not give")
    );
    assert_eq!(faults[0].remedy(), Some("for documents use one of: memory, mongo, pg, sqlite"));
}

/// REG-11.
#[test]
fn a_name_without_block_is_refused() {
    let (key, _, _, message) = fault("storage: {user: {backend: memry, memory: {}}}\n");
    assert_eq!(key, "storage.user.backend");
    assert_eq!(message, "`memry` names no block of this section; did you mean `memory`?");
    let (key, _, _, _) = fault(&routed("strategy: dual-write, shadow: nothing"));
    assert_eq!(key, "storage.routing.document.shadow");
    let (key, _, _, _) = fault(&routed("primary: nothing"));
    assert_eq!(key, "storage.routing.document.primary");
}

/// REG-12.
#[test]
fn secrets_come_from_environment_and_files_and_do_not_print() {
    for reference in
        ["dsn: \"${DSN}\"", "dsn: \"x${PASSWORD}y\"", "dsn: {file: secret}", "dsn: canary-hunter2"]
    {
        let plan = plan(&postgres(reference));
        assert!(!format!("{plan:?}").contains(CANARY));
    }
    let (key, line, column, message) = fault(&postgres("dsn: \"${MISSING}\""));
    assert_eq!((key.as_str(), line, column), ("storage.document.pg.dsn", 4, 15));
    assert_eq!(message, "the environment variable `MISSING` is not set");
}

#[test]
fn a_resolved_value_is_never_shown_not_even_in_words_of_our_own() {
    for text in [
        "storage: {user: {backend: \"${DSN}\", memory: {}}}\n".to_owned(),
        "storage: {user: {backend: x, x: {kind: \"${DSN}\"}}}\n".into(),
        routed("strategy: \"${DSN}\", shadow: \"${DSN}\""),
        routed("strategy: dual-write, shadow: \"${DSN}\""),
        routed("reads: {file: secret}"),
        postgres(
            "dsn: x, tls: \"${DSN}\", poolConnectionsMax: \"${DSN}\", acquireTimeout: \"${DSN}\"",
        ),
        format!("{CANARY}: [\n"),
        format!("a: \"{CANARY}\n"),
        format!("storage: {CANARY}\n"),
        format!("storage: {{user: {{backend: [{CANARY}], memory: {CANARY}}}}}\n"),
    ] {
        faults(&text);
    }
}

/// REG-17.
#[test]
fn a_factory_of_a_third_party_is_usable_by_its_kind() {
    let mut factories = Factories::new();
    factories.register(crate::testing::fake_pg()).unwrap();
    let plan = check(&postgres("dsn: x"), "f.yaml", &factories, &environment()).unwrap();
    assert_eq!(plan.documents.unwrap().blocks[0].kind, "pg");
}

#[test]
fn routes_have_their_defaults_filled_in() {
    let route = |text: &str| plan(&routed(text)).documents.unwrap().route;
    assert_eq!(route(""), Route::single("mongo"));
    assert_eq!(route("shadow: pg-doc"), Route::single("mongo"));
    assert_eq!(route("primary: pg-doc"), Route::single("pg-doc"));
    let dual = Route {
        strategy: Strategy::DualWrite,
        primary: "mongo".into(),
        shadow: Some("pg-doc".into()),
        reads: Reads::Primary,
        writes: Writes::Both,
        mirror: Mirror::Background,
    };
    assert_eq!(route("strategy: dual-write, shadow: pg-doc"), dual);
    let replica = Route {
        strategy: Strategy::ReadReplica,
        reads: Reads::Shadow,
        writes: Writes::Primary,
        ..dual
    };
    assert_eq!(route("strategy: read-replica, shadow: pg-doc"), replica);
}

#[test]
fn a_pair_that_is_not_allowed_is_refused_with_what_is() {
    let (key, _, _, message) =
        fault(&routed("strategy: read-replica, shadow: pg-doc, reads: primary"));
    assert_eq!(key, "storage.routing.document.reads");
    assert_eq!(message, "with `strategy: read-replica` only `shadow` or `both` is possible here");
    let printed = faults(&routed("reads: both"))[0].to_string();
    assert!(printed.contains("reads: both"), "{printed}");
}

#[test]
fn accounts_are_read_from_the_primary() {
    let (key, _, _, message) = fault(&routed_user("strategy: read-replica, shadow: other"));
    assert_eq!(key, "storage.routing.user.strategy");
    assert!(message.contains("only `single` and `dual-write`"), "{message}");
    let (key, _, _, message) =
        fault(&routed_user("strategy: dual-write, shadow: other, reads: shadow"));
    assert_eq!(key, "storage.routing.user.reads");
    assert_eq!(message, "with `strategy: dual-write` only `primary` is possible here");
}

#[test]
fn the_named_block_is_what_the_route_refers_to() {
    let plan = plan(&routed("strategy: dual-write, shadow: pg-doc"));
    let documents = plan.documents.unwrap();
    assert_eq!(
        documents.shadow().map(|block| (block.name.as_str(), block.kind)),
        Some(("pg-doc", "pg"))
    );
    assert_eq!(documents.blocks.len(), 2);
}

#[test]
fn a_configuration_without_store_is_allowed_but_warned_of() {
    let plan = plan("storage: {}\n");
    assert!(StoreKind::ALL.iter().all(|store| plan.store(*store).is_none()));
    assert_eq!(plan.warnings[0].message(), "this configures no store");
}

#[test]
fn the_error_of_core_carries_the_report_and_the_first_place() {
    let Err(errors) =
        check(&postgres("dns: canary-hunter2"), "f.yaml", &factories(), &environment())
    else {
        panic!("accepted");
    };
    let report = errors.to_string();
    let error = Error::from(errors);
    assert_eq!(error.kind(), ErrorKind::ConfigInvalid);
    assert_eq!(
        (error.fact("key"), error.fact("line")),
        (Some("storage.document.pg.dns"), Some("4"))
    );
    assert_eq!(error.message(), Some(report.as_str()));
}

#[test]
fn a_reference_that_flow_style_tears_apart_is_explained() {
    let faults = faults(&postgres("dsn: ${DSN}"));
    assert_eq!(
        faults[0].remedy(),
        Some("between { } or [ ] a reference needs quotes: \"${NAME}\"")
    );
}

#[test]
fn hundreds_of_faults_are_cut_off() {
    let entries: String = (0..5_000).map(|index| format!("k{index}: 1\n")).collect();
    assert_eq!(faults(&entries).len(), FAULTS_MAX);
}
