//! Revoked tokens: no fault makes a revoked one pass.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use syntrix_storage::backend::StoreKind;
use syntrix_storage::conformance::canary;
use syntrix_storage::conformance::faults::{Fault, FaultRule, Method};
use syntrix_storage::{
    Clock, ErrorKind, Result, Retry, RevocationOptions, RevokeOutcome, RotationOutcome,
    SystemClock, Timestamp, TokenId, TokenRevocationStore,
};

use crate::stores::{Stores, everywhere, in_time};

const GRACE: Duration = Duration::from_secs(300);

fn token(name: &str) -> TokenId {
    TokenId::parse(&format!("{}-{name}", canary::TOKEN_ID)).unwrap()
}

fn in_an_hour() -> Timestamp {
    SystemClock.now().saturating_add(Duration::from_secs(3600))
}

fn fault(fault: Fault, method: Method) -> FaultRule {
    FaultRule::new(fault).of(StoreKind::Revocations).at(method)
}

async fn revoke(stores: &Stores, name: &str) -> Result<RevokeOutcome> {
    let revocations = &stores.revocations;
    revocations.revoke_token_immediate(&token(name), in_an_hour(), Default::default()).await
}

async fn check(stores: &Stores, name: &str) -> Result<bool> {
    let options = RevocationOptions::default().with_timeout(Duration::from_millis(50));
    in_time(stores.revocations.is_revoked(&token(name), GRACE, options)).await
}

async fn check_many(stores: &Stores, name: &str) -> Result<bool> {
    let options = RevocationOptions::default().with_timeout(Duration::from_millis(50));
    let tokens = [token("other"), token(name)];
    let checked = in_time(stores.revocations.is_revoked_many(&tokens, GRACE, options)).await?;
    Ok(checked[1])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_check_is_an_error_and_never_not_revoked() {
    everywhere(async |stores| {
        revoke(&stores, "stolen").await.unwrap();
        let kinds = [
            (Fault::FailBefore, ErrorKind::Unavailable),
            (Fault::FailAfter, ErrorKind::Unavailable),
            (Fault::Hang, ErrorKind::Timeout),
            (Fault::HangAfter, ErrorKind::Timeout),
        ];
        for (kind, expected) in kinds {
            stores.fail(fault(kind, Method::Get));
            stores.fail(fault(kind, Method::GetMany));
            assert_eq!(check(&stores, "stolen").await.unwrap_err().kind(), expected);
            assert_eq!(check_many(&stores, "stolen").await.unwrap_err().kind(), expected);
            stores.faults.heal();
        }
        assert!(check(&stores, "stolen").await.unwrap());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_check_under_random_faults_lets_a_revoked_token_pass() {
    everywhere(async |stores| {
        revoke(&stores, "stolen").await.unwrap();
        for kind in [Fault::FailBefore, Fault::FailAfter, Fault::Delay(Duration::from_millis(1))] {
            stores.fail(fault(kind, Method::Get).with_chance(0.2));
            stores.fail(fault(kind, Method::GetMany).with_chance(0.2));
        }
        let mut failed = 0;
        for _ in 0..150 {
            for checked in [check(&stores, "stolen").await, check_many(&stores, "stolen").await] {
                assert!(checked.as_ref().is_err() || *checked.as_ref().unwrap());
                failed += u32::from(checked.is_err());
            }
        }
        assert!((20..280).contains(&failed), "{failed} of 300 failed");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_whose_answer_is_lost_holds_and_can_be_repeated() {
    everywhere(async |stores| {
        stores.fail(fault(Fault::FailAfter, Method::Join).about(token("stolen").as_str()).times(1));
        let error = revoke(&stores, "stolen").await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::IfIdempotent));
        assert!(check(&stores, "stolen").await.unwrap());
        let repeated = revoke(&stores, "stolen").await.unwrap();
        assert!(matches!(repeated, RevokeOutcome::Unchanged | RevokeOutcome::Tightened));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_that_was_not_stored_is_no_success() {
    everywhere(async |stores| {
        stores.fail(fault(Fault::FailBefore, Method::Join).times(1));
        assert!(revoke(&stores, "stolen").await.is_err());
        assert!(!check(&stores, "stolen").await.unwrap());
        assert_eq!(revoke(&stores, "stolen").await.unwrap(), RevokeOutcome::Inserted);
    })
    .await;
}

async fn rotate(stores: &Stores, successor: &str) -> Result<RotationOutcome> {
    let (revocations, successor) = (&stores.revocations, Some(token(successor)));
    let (refresh, options) = (token("refresh"), Default::default());
    revocations.revoke_if_not_revoked(&refresh, in_an_hour(), GRACE, successor, options).await
}

/// The winner that never learnt of it gets its own successor back, and nobody wins a second time.
#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_whose_answer_is_lost_hands_its_successor_back() {
    everywhere(async |stores| {
        stores.fail(fault(Fault::FailAfter, Method::Insert).times(1));
        assert_eq!(rotate(&stores, "next").await.unwrap_err().kind(), ErrorKind::Unavailable);
        let RotationOutcome::InGrace { successor, .. } = rotate(&stores, "other").await.unwrap()
        else {
            panic!("not in its grace");
        };
        assert!(successor == Some(token("next")), "another successor");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_answers_make_no_second_winner() {
    everywhere(async |stores| {
        stores.fail(fault(Fault::FailAfter, Method::Insert).with_chance(0.5));
        let stores = Arc::new(stores);
        let racer = |number: usize| {
            let stores = Arc::clone(&stores);
            tokio::spawn(async move { rotate(&stores, &format!("next{number}")).await })
        };
        let answers = join_all((0..32).map(racer)).await;
        let won = |answer: &Result<RotationOutcome>| matches!(answer, Ok(RotationOutcome::Won));
        let winners = answers.iter().filter(|answer| won(answer.as_ref().unwrap())).count();
        assert!(winners <= 1, "{winners} winners");
        stores.faults.heal();
        assert!(!won(&rotate(&stores, "late").await), "a late winner");
    })
    .await;
}
