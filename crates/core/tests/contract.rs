//! What errors, events and options look like from outside.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::HashSet;
use std::error::Error as _;
use std::time::Duration;

use common::{at, document, path};
use serde_json::json;
use syntrix_storage_core::backend::{OpenContext, StoreKind, StoreSet};
use syntrix_storage_core::{
    Clock, Error, ErrorKind, Event, EventType, ExpiredReason, HealthReport, ManualClock, Operation,
    Reason, ResumeToken, Retention, Retry, WatchItem,
};

#[test]
fn an_error_prints_one_line_with_kind_detail_message_and_facts_but_no_source() {
    let error = Error::invalid("age", Reason::OperandType, "say it differently")
        .with_fact("value", "array")
        .with_source(std::io::Error::other("driver text"))
        .in_operation("query")
        .in_operation("outer");
    let expected =
        "query: invalid_argument: operand_type: say it differently (field=age, value=array)";
    assert_eq!(error.to_string(), expected);
    assert_eq!(error.source().unwrap().to_string(), "driver text");
    assert_eq!((error.operation(), error.fact("value")), ("query", Some("array")));
    let expired = Error::token_expired(ExpiredReason::Trimmed, Some(at(7)));
    assert!(expired.to_string().starts_with("watch: token_expired: trimmed: "));
    assert_eq!(expired.oldest_time(), Some(at(7)));
    assert_eq!((expired.reason(), expired.suggestion()), (None, None));
}

#[test]
fn retry_advice_follows_the_kind_unless_it_is_set() {
    let usual = |kind| Error::new(kind, "write").retry();
    assert_eq!(usual(ErrorKind::Conflict), Retry::Safe);
    assert_eq!(usual(ErrorKind::Unavailable), Retry::IfIdempotent);
    assert_eq!(usual(ErrorKind::Timeout), Retry::IfIdempotent);
    for kind in [ErrorKind::InvalidArgument, ErrorKind::NotFound, ErrorKind::Internal] {
        assert_eq!(usual(kind), Retry::Never, "{kind}");
    }
    let set = Error::new(ErrorKind::Unavailable, "get").with_retry(Retry::Safe);
    assert_eq!(set.retry(), Retry::Safe);
}

#[test]
fn an_error_is_one_pointer_wide() {
    assert_eq!(size_of::<Error>(), size_of::<usize>());
}

#[test]
fn every_operation_and_store_has_a_name_of_its_own() {
    let names: HashSet<_> = Operation::ALL.iter().map(|operation| operation.as_str()).collect();
    assert_eq!(names.len(), Operation::ALL.len());
    let set = StoreSet { users: true, ..StoreSet::default() };
    let offered: Vec<_> = StoreKind::ALL.into_iter().filter(|kind| set.contains(*kind)).collect();
    assert_eq!(offered, [StoreKind::Users]);
    assert_eq!(StoreKind::Documents.section(), "document");
}

#[test]
fn events_and_bookmarks_have_one_json_form() {
    let created = document("rooms/lobby", &json!({"topic": "rust"}));
    let tombstone = created.tombstone(at(2000));
    let event = |event_type, document: &syntrix_storage_core::Document, before| {
        WatchItem::Event(Event {
            event_type,
            document: document.clone(),
            before,
            commit_time: at(2000),
            token: ResumeToken::from_text("t1"),
        })
    };
    let created_flat = json!({
        "id": "lobby", "collection": "rooms", "topic": "rust",
        "version": 1, "createdAt": 1000, "updatedAt": 1000,
    });
    let create = serde_json::to_value(event(EventType::Create, &created, None)).unwrap();
    let expected = json!({
        "type": "create", "path": "rooms/lobby", "collection": "rooms", "id": "lobby",
        "version": 1, "document": created_flat, "commitTime": 2000, "token": "t1",
    });
    assert_eq!(create, expected);
    let delete = event(EventType::Delete, &tombstone, Some(created));
    let json = serde_json::to_value(&delete).unwrap();
    assert_eq!((&json["type"], &json["before"]), (&json!("delete"), &created_flat));
    assert_eq!(json["document"]["deleted"], json!(true));
    assert_eq!(delete.token().as_str(), "t1");
    let bookmark = WatchItem::Bookmark { token: ResumeToken::from_text("t2") };
    assert_eq!(
        serde_json::to_value(&bookmark).unwrap(),
        json!({"type": "bookmark", "token": "t2"})
    );
    assert_eq!(bookmark.into_event(), None);
}

#[test]
fn history_never_outlives_tombstones() {
    let hour = Duration::from_secs(3600);
    assert!(Retention::new(hour, hour).is_ok());
    let error = Retention::new(hour, hour * 2).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConfigInvalid);
    let usual = Retention::default();
    assert_eq!((usual.soft_delete(), usual.watch()), (hour * 720, hour * 72));
}

#[test]
fn namespaces_are_short_and_plain() {
    let long = "n".repeat(33);
    for bad in ["", "A", "a-b", "a/b", "é", "a b", long.as_str()] {
        let error = OpenContext::new("data").with_namespace(bad).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{bad:?}");
    }
    let context = OpenContext::new("data").with_namespace("n_0").unwrap();
    assert_eq!(context.namespace.as_deref(), Some("n_0"));
}

#[test]
fn times_saturate_and_a_manual_clock_is_shared_by_its_clones() {
    assert_eq!(at(10).saturating_sub(Duration::from_millis(3)), at(7));
    assert_eq!(at(0).saturating_sub(Duration::MAX), at(-i64::MAX));
    assert_eq!(at(-5).saturating_sub(Duration::MAX), at(i64::MIN));
    let clock = ManualClock::starting_at(5);
    let other = clock.clone();
    other.set(3);
    other.advance(Duration::from_millis(4));
    assert_eq!(clock.now(), at(7));
}

#[test]
fn a_health_report_is_json_with_its_latency_in_milliseconds() {
    let mut report = HealthReport::new("memory", true).with_fact("documents", 3);
    report.latency = Duration::from_micros(1500);
    let expected = json!({
        "backend": "memory", "ready": true, "latencyMs": 1.5, "facts": [["documents", "3"]],
    });
    assert_eq!(serde_json::to_value(&report).unwrap(), expected);
}

#[test]
fn a_bulk_item_and_a_backend_write_know_their_path() {
    let item = syntrix_storage_core::BulkItem::Create { path: path("c/a"), data: json!({}) };
    assert_eq!(item.path(), &path("c/a"));
    let write = syntrix_storage_core::backend::Write::Insert(document("c/b", &json!({})));
    assert_eq!(write.path(), &path("c/b"));
}
