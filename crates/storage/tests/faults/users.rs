//! Accounts: whatever answers are lost, no more passwords are tested than the policy allows.

use std::sync::Arc;

use futures_util::future::join_all;
use syntrix_storage::backend::StoreKind;
use syntrix_storage::conformance::canary;
use syntrix_storage::conformance::faults::{Fault, FaultRule, Method};
use syntrix_storage::{
    ErrorKind, LoginAttempt, LoginPolicy, LoginSuccess, NewUser, Result, Retry, Secret, User,
    UserOptions, UserStore,
};

use crate::stores::{Stores, everywhere};

const THRESHOLD: u32 = 5;

fn policy() -> LoginPolicy {
    let mut policy = LoginPolicy::default();
    policy.threshold = THRESHOLD;
    policy
}

async fn create(stores: &Stores, name: &str) -> Result<User> {
    let user = NewUser::new(name, Secret::new(canary::PASSWORD_HASH), "argon2id");
    stores.users.create_user(user, Default::default()).await
}

fn fault(fault: Fault, method: Method) -> FaultRule {
    FaultRule::new(fault).of(StoreKind::Users).at(method)
}

/// How many of `count` guesses side by side may test a password; the others are locked out or fail.
async fn allowed(stores: &Stores, user: &User, count: usize) -> usize {
    let attempt = || {
        let (users, id) = (Arc::clone(&stores.users), user.id.clone());
        tokio::spawn(
            async move { users.begin_login_attempt(&id, policy(), Default::default()).await },
        )
    };
    let answers = join_all((0..count).map(|_| attempt())).await;
    let allowed = |answer: &Result<LoginAttempt>| matches!(answer, Ok(LoginAttempt::Allowed(_)));
    answers.into_iter().filter(|answer| allowed(answer.as_ref().unwrap())).count()
}

/// A lost answer costs an attempt: it was counted, and nobody may test a password for it.
#[tokio::test(flavor = "multi_thread")]
async fn lost_answers_let_no_more_guesses_through_than_the_policy_allows() {
    everywhere(async |stores| {
        let ada = create(&stores, "ada").await.unwrap();
        stores.fail(fault(Fault::FailAfter, Method::Write).every(2).times(2));
        assert_eq!(allowed(&stores, &ada, 40).await, THRESHOLD as usize - 2);
        assert_eq!(stores.faults.injected(), 2);
        stores.faults.heal();
        assert_eq!(allowed(&stores, &ada, 5).await, 0, "the lock is gone");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn random_faults_let_no_more_guesses_through_than_the_policy_allows() {
    everywhere(async |stores| {
        for number in 0..10 {
            let user = create(&stores, &format!("user{number}")).await.unwrap();
            for kind in [Fault::FailBefore, Fault::FailAfter] {
                stores.fail(fault(kind, Method::Write).with_chance(0.2));
                stores.fail(fault(kind, Method::Get).with_chance(0.2));
            }
            let under_faults = allowed(&stores, &user, 20).await;
            stores.faults.heal();
            let later = allowed(&stores, &user, 20).await;
            assert!(under_faults + later <= THRESHOLD as usize, "{under_faults} and {later}");
        }
        assert!(stores.faults.injected() > 50);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_was_not_counted_is_not_allowed() {
    everywhere(async |stores| {
        let ada = create(&stores, "ada").await.unwrap();
        for method in [Method::Get, Method::Write] {
            stores.fail(fault(Fault::FailBefore, method).times(1));
            let attempt =
                stores.users.begin_login_attempt(&ada.id, policy(), Default::default()).await;
            assert_eq!(attempt.unwrap_err().kind(), ErrorKind::Unavailable);
        }
        assert_eq!(allowed(&stores, &ada, 20).await, THRESHOLD as usize);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_whose_creation_got_no_answer_exists_once() {
    everywhere(async |stores| {
        stores.fail(fault(Fault::FailAfter, Method::Write).times(1));
        let error = create(&stores, "Ada").await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::IfIdempotent));
        let again = create(&stores, "ADA").await.unwrap_err();
        assert_eq!(again.fact("field"), Some("username"));
        let found = stores.users.get_user_by_username("ada", Default::default()).await.unwrap();
        assert_eq!((found.username.as_str(), found.version.get()), ("Ada", 1));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_whose_answer_is_lost_is_set_once() {
    everywhere(async |stores| {
        let ada = create(&stores, "ada").await.unwrap();
        stores.fail(fault(Fault::FailAfter, Method::Write).about(ada.id.as_str()).times(1));
        let set = async || {
            let expected = UserOptions::default().with_expected_version(ada.version);
            let hash = Secret::new("$new");
            stores.users.set_password(&ada.id, hash, "bcrypt", true, expected).await
        };
        assert_eq!(set().await.unwrap_err().kind(), ErrorKind::Unavailable);
        let again = set().await.unwrap_err();
        assert_eq!(
            (again.kind(), again.fact("version")),
            (ErrorKind::PreconditionFailed, Some("2"))
        );
        let stored = stores.users.get_user_by_id(&ada.id, Default::default()).await.unwrap();
        assert_eq!((stored.token_epoch, stored.password_algorithm.as_deref()), (1, Some("bcrypt")));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_success_whose_answer_is_lost_can_be_told_again() {
    everywhere(async |stores| {
        let ada = create(&stores, "ada").await.unwrap();
        let attempt = stores.users.begin_login_attempt(&ada.id, policy(), Default::default()).await;
        let LoginAttempt::Allowed(ticket) = attempt.unwrap() else { panic!("locked") };
        stores.fail(fault(Fault::FailAfter, Method::Write).times(1));
        let succeed =
            || stores.users.record_login_success(&ada.id, Some(ticket), Default::default());
        assert_eq!(succeed().await.unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(succeed().await.unwrap(), LoginSuccess::Recorded);
        let stored = stores.users.get_user_by_id(&ada.id, Default::default()).await.unwrap();
        assert_eq!((stored.login.failed_attempts, stored.login.lockout_until), (0, None));
    })
    .await;
}
