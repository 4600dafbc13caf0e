use crate::program::Program;

/// As the requirement has it, word for word.
const REQUIREMENT: &str = "\
storage:
  document:
    backend: mongo
    mongo:
      uri: ...
      db: ...
      dataCollection: ...
      sysCollection: ...
      softDeleteRetention: ...
  user:
    backend: pg
    pg:
      dsn: ...
  revocation:
    backend: redis
    redis:
      addr: ...
      db: 0
      prefix: syntrix:rev
  routing:
    document:
      strategy: single        # single | dual-write | read-replica
      primary: mongo
      shadow: pg-doc          # optional (for migration)
      reads: primary          # primary | shadow | both
      writes: primary         # primary | both
    user:
      strategy: single
      primary: pg
    revocation:
      strategy: single
      primary: redis
";

#[test]
fn the_requirements_example_passes_and_its_unused_shadow_is_a_warning() {
    let program = Program::new();
    let file = program.file("storage.yaml", REQUIREMENT);
    let checked = program.run(&["config", "check", "--config", &file]);
    assert_eq!(checked.code, 0, "{}", checked.stderr);
    assert!(checked.stderr.contains("pg-doc"), "{}", checked.stderr);
    assert_eq!(checked.json_lines()[0]["ok"], true);
    assert!(!program.path("data").exists(), "a check opens nothing");

    let opened = program.run(&["doctor", "--config", &file]);
    assert_eq!((opened.code, opened.stdout.as_str()), (2, ""), "{}", opened.stderr);
    assert!(opened.stderr.contains("storage.document.mongo.uri"), "{}", opened.stderr);
}

#[test]
fn an_unknown_key_is_refused_with_its_place_before_anything_is_opened() {
    let program = Program::new();
    let file = program.file(
        "storage.yaml",
        "storage:\n  document:\n    backend: sqlite\n    sqlite: {softDeleteRetentoin: 7d}\n",
    );
    for arguments in [&["config", "check", "--config", &file][..], &["doctor", "--config", &file]] {
        let refused = program.run(arguments);
        assert_eq!((refused.code, refused.stdout.as_str()), (2, ""), "{arguments:?}");
        assert!(refused.stderr.contains("storage.yaml:4:14"), "{}", refused.stderr);
        assert!(refused.stderr.contains("softDeleteRetention"), "{}", refused.stderr);
    }
    assert!(!program.path("data").exists());
    assert_eq!(program.run(&["config", "check"]).code, 2);
}

#[test]
fn the_printed_example_is_a_configuration_that_opens() {
    let program = Program::new();
    let example = program.run(&["config", "example"]).stdout;
    let file = program.file("storage.yaml", &example);
    let checked = program.run(&["config", "check", &file]);
    assert_eq!((checked.code, checked.stderr.as_str()), (0, ""));
    let schema = program.lines(&["config", "schema"]);
    assert!(schema[0]["properties"]["storage"].is_object());
}

#[test]
fn a_configured_store_is_the_one_that_is_used() {
    let program = Program::new();
    let text =
        "storage:\n  document:\n    backend: main\n    main: {kind: sqlite, path: other.db}\n";
    let file = program.file("storage.yaml", text);
    program.lines(&["--config", &file, "doc", "create", "c/x", "{}"]);
    assert!(program.path("data/other.db").exists() && !program.path("data/storage.db").exists());
    let doctor = program.lines(&["doctor", "--config", &file]);
    assert_eq!(
        (&doctor[0]["store"], &doctor[0]["backend"]),
        (&"documents".into(), &"sqlite".into())
    );
    assert!(doctor[0]["ready"] == true && doctor[0]["capabilities"]["durable"] == true);
    assert!(doctor[0]["facts"]["schemaVersion"].is_i64(), "{}", doctor[0]);
}
