//! MongoDB's secondaries as native replicas, on sets of the tests' own: members are made to apply nothing for a while by the server itself.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use syntrix_storage::Consistency;
use syntrix_storage::routing::{ShadowState, VerifyOptions};

use crate::native::{
    PATIENCE, Route, expect_cases_hold, expect_no_stale_pairs, expect_tokens_kept, pairs_wanted,
};
use crate::set::Set;

/// A route from a set's primary to what a read preference leads to in another one, or the same.
async fn open(primary: &Set, replica: &Set, preference: &str) -> Route {
    let main = format!("{{kind: mongo, uri: \"{}\"}}", primary.uri(""));
    let uri = replica.uri(&format!("&readPreference={preference}"));
    Route::open(&main, &format!("{{kind: mongo, uri: \"{uri}\", serverSelectionTimeout: 2s}}"))
        .await
}

/// Three members and a route to the secondaries, which answer already.
async fn open_own() -> (Set, Route) {
    let set = Set::start(3).await;
    let route = open(&set, &set, "secondary").await;
    route.create("rooms/first", 1).await;
    route.drain().await;
    route.until_replica_answers("rooms/first").await;
    (set, route)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secondary_answers_what_it_has_and_the_primary_the_rest() {
    let (set, route) = open_own().await;
    route.create("rooms/a", 1).await;
    set.until_all_applied();
    // The other one confirms with the primary what this one does not have.
    set.stop_applying(1, true);
    route.update("rooms/a", 2).await;
    route.answers();
    let mut old = 0;
    for _ in 0..200 {
        old += usize::from(route.read("rooms/a", Consistency::Any).await == 1);
    }
    assert!(
        (20..=180).contains(&old),
        "each of the two answers what it has: {old} of 200 were old"
    );
    let answers = route.answers();
    assert!(answers["shadow"] > 150, "{answers:?}");
    for _ in 0..50 {
        route.expect_newest("a", 2).await;
    }
    set.stop_applying(1, false);
    route.storage.close().await.unwrap();
    let again = open(&set, &set, "secondary").await;
    again.expect_equal_sides(2).await;
    again.storage.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_suites_cases_of_routes_hold_on_secondaries() {
    let set = Set::start(3).await;
    let block = |uri: String| format!("{{kind: mongo, uri: \"{uri}\"}}");
    let main = block(set.uri(""));
    for replica in [set.uri("&readPreference=secondary"), set.uri_of(1)] {
        expect_cases_hold(&main, &block(replica)).await;
    }
}

/// Each look may meet the one that is behind, whichever passed the barrier.
#[tokio::test(flavor = "multi_thread")]
async fn a_verify_finds_no_difference_in_a_secondary_that_is_only_behind() {
    let (set, route) = open_own().await;
    for n in 0..20 {
        route.create(&format!("rooms/r{n}"), n).await;
    }
    route.drain().await;
    set.stop_applying(1, true);
    for n in 0..10 {
        route.update(&format!("rooms/r{n}"), n + 100).await;
    }
    let control = route.storage.document_route().unwrap();
    let mut options = VerifyOptions::default();
    options.range_documents_max = 4;
    for _ in 0..30 {
        let mut findings = Vec::new();
        let mut report = |finding| {
            findings.push(finding);
            Ok(())
        };
        let summary = control.verify(options.clone(), PATIENCE, &mut report).await.unwrap();
        assert!(summary.equal && summary.primary.documents == 21, "{summary:?} {findings:?}");
    }
    set.stop_applying(1, false);
    route.storage.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn cases_77_and_79_no_pair_of_write_and_read_is_stale_while_secondaries_stop_applying() {
    let (set, route) = open_own().await;
    let (set, route) = (Arc::new(set), Arc::new(route));
    let stop = Arc::new(AtomicBool::new(false));
    let before = [set.queries(1), set.queries(2)];
    let tormenting = set.torment(&stop);
    route.answers();
    expect_no_stale_pairs(&route, 8, pairs_wanted()).await;
    stop.store(true, Relaxed);
    tormenting.await.unwrap();
    let read = [set.queries(1) - before[0], set.queries(2) - before[1]];
    let answers = route.answers();
    eprintln!("answers {answers:?}, reads of the secondaries {read:?}");
    // Else the primary answered everything and nothing is proven.
    assert!(answers["shadow"] as usize > pairs_wanted() / 5, "{answers:?}");
    assert!(read.iter().all(|read| *read as usize > pairs_wanted() / 20), "{read:?}");
    route.storage.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_another_handle_is_kept_by_secondaries() {
    let (set, writer) = open_own().await;
    writer.create("rooms/a", 1).await;
    let reader = Arc::new(open(&set, &set, "secondary").await);
    reader.drain().await;
    reader.until_replica_answers("rooms/a").await;
    set.stop_applying(1, true);
    expect_tokens_kept(&writer, &reader).await;
    let answers = reader.answers();
    assert!(answers["shadow"] > 0, "the member that goes on answers, too: {answers:?}");
    set.stop_applying(1, false);
    writer.storage.close().await.unwrap();
    reader.storage.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn case_80_a_secondary_that_dies_under_load_changes_no_answer() {
    let (mut set, route) = open_own().await;
    let route = Arc::new(route);
    // One after the other: without both there is no majority, hence no primary.
    for member in [1, 2] {
        let killed = Arc::new(AtomicBool::new(false));
        let load = {
            let (route, killed) = (Arc::clone(&route), Arc::clone(&killed));
            tokio::spawn(async move {
                while !killed.load(Relaxed) {
                    expect_no_stale_pairs(&route, 8, 200).await;
                }
            })
        };
        tokio::time::sleep(Duration::from_millis(300)).await;
        set.kill(member);
        killed.store(true, Relaxed);
        load.await.unwrap();
        expect_no_stale_pairs(&route, 8, 200).await;
        route.until_replica_answers("rooms/first").await;
        set.restart(member);
    }
    route.storage.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn another_set_is_refused() {
    let (ours, others) = tokio::join!(Set::start(1), Set::start(1));
    let elsewhere = open(&others, &others, "nearest").await;
    elsewhere.create("rooms/a", 66).await;
    elsewhere.drain().await;
    let route = open(&ours, &others, "nearest").await;
    route.create("rooms/a", 1).await;
    let state = route.until(|state| matches!(state, ShadowState::Refused(_))).await;
    assert!(format!("{state:?}").contains("replica of another database"), "{state:?}");
    for consistency in [Consistency::Any, Consistency::Session, Consistency::Strong] {
        assert_eq!(route.read("rooms/a", consistency).await, 1);
    }
    elsewhere.storage.close().await.unwrap();
    route.storage.close().await.unwrap();
}

/// It has the same data under the same name, and a history of its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_set_that_a_backup_was_restored_to_is_refused() {
    let set = Set::start(1).await;
    let before = open(&set, &set, "nearest").await;
    before.create("rooms/a", 1).await;
    before.drain().await;
    before.storage.close().await.unwrap();
    let (ours, restored) = set.restored().await;
    let route = open(&ours, &restored, "nearest").await;
    route.update("rooms/a", 2).await;
    let says = |state: &ShadowState, text: &str| format!("{state:?}").contains(text);
    route.until(|state| says(state, "a copy of another replica set's")).await;
    let all = [Consistency::Any, Consistency::Session, Consistency::Strong];
    for consistency in all {
        assert_eq!(route.read("rooms/a", consistency).await, 2);
    }
    // Who works on the copy makes it a set of its own, which is no other one's replica either.
    let elsewhere = open(&restored, &restored, "nearest").await;
    elsewhere.update("rooms/a", 66).await;
    let state = route.until(|state| matches!(state, ShadowState::Refused(_))).await;
    assert!(says(&state, "another replica set"), "{state:?}");
    for consistency in all {
        assert_eq!(route.read("rooms/a", consistency).await, 2);
    }
    elsewhere.storage.close().await.unwrap();
    route.storage.close().await.unwrap();
}
