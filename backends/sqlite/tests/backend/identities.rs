//! Random writes of accounts that no application makes: stale ones and tombstones. The file answers what memory does.
//!
//! What applications can do is in the model test of the public suite.

use std::sync::Arc;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::json;
use syntrix_storage_core::backend::{Backend, BackendProvider, OpenContext, UserRecord, UserWrite};
use syntrix_storage_core::{
    ManualClock, Operation, Result, Timestamp, UserFilter, UserListPlan, UserPageRequest,
};

use crate::common::{START, context, node, provider};
use crate::users::{id, insert, key, record, shown};

const IDS: [&str; 6] = ["a", "B", "b", "c-1", "c_1", "c1"];
const NAMES: [&str; 6] = ["ada", "Ada", "ada2", "adz", "b@x", "grace"];
const ROLES: [&str; 4] = ["r", "rr", "r.x", "admin"];

#[derive(Clone, Debug)]
enum Step {
    Insert { id: &'static str, name: &'static str, roles: Vec<&'static str>, disabled: bool },
    Replace { id: &'static str, behind: i64, name: &'static str, delete: bool },
    Login { id: &'static str, behind: u64, failed: u32 },
    Get(&'static str),
    GetByName(&'static str),
    List { prefix: &'static str, role: Option<&'static str>, disabled: Option<bool>, limit: u32 },
    Advance(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let (id, name) = (|| select(&IDS[..]), || select(&NAMES[..]));
    let roles = vec(select(&ROLES[..]), 0..3);
    let role = proptest::option::of(select(&ROLES[..]));
    let prefix = select(vec!["", "", "a", "AD", "ada", "adz", "b@", "z"]);
    prop_oneof![
        4 => (id(), name(), roles, any::<bool>())
            .prop_map(|(id, name, roles, disabled)| Step::Insert { id, name, roles, disabled }),
        3 => (id(), select(vec![0, 0, 0, 1]), name(), proptest::bool::weighted(0.3))
            .prop_map(|(id, behind, name, delete)| Step::Replace { id, behind, name, delete }),
        2 => (id(), select(vec![0, 0, 1]), 0..5u32)
            .prop_map(|(id, behind, failed)| Step::Login { id, behind, failed }),
        1 => id().prop_map(Step::Get),
        1 => name().prop_map(Step::GetByName),
        3 => (prefix, role, proptest::option::of(any::<bool>()), 1..4u32)
            .prop_map(|(prefix, role, disabled, limit)| Step::List { prefix, role, disabled, limit }),
        3 => (1..20u64).prop_map(Step::Advance),
    ]
}

/// One of the two that are compared.
struct Side(Arc<dyn Backend>);

impl Side {
    async fn open(provider: Box<dyn BackendProvider>, open: &OpenContext) -> Self {
        Self(provider.open(open).await.expect("open"))
    }

    async fn stored(&self, text: &str) -> Option<UserRecord> {
        let users = self.0.users().expect("users");
        users.get(&id(text), &context(Operation::Read)).await.expect("get").value
    }

    async fn write(&self, write: UserWrite) -> String {
        let users = self.0.users().expect("users");
        format!("{:?}", users.write(write, &context(Operation::Write)).await)
    }

    /// All pages, as ids and names: a list need not bring hashes.
    async fn list(&self, filter: &UserFilter, limit: u32) -> Result<String> {
        let (users, mut after, mut listed) = (self.0.users()?, None, Vec::new());
        loop {
            let mut page = UserPageRequest::default();
            (page.limit, page.after) = (Some(limit), after);
            let plan = UserListPlan::check(filter.clone(), page)?;
            let mut records = users.list(&plan, &context(Operation::Query)).await?;
            let more = records.len() == plan.rows_max();
            records.truncate(plan.limit());
            after = records.last().map(|last| plan.cursor_after(&last.user.id));
            for record in &mut records {
                record.user.password_hash = None;
            }
            listed.extend(records.iter().map(shown));
            assert!(listed.len() <= IDS.len(), "pages repeat accounts");
            if !more {
                return Ok(listed.join("\n"));
            }
        }
    }

    /// What the step answers; `current` is the account that the step is about.
    async fn run(&self, step: &Step, current: Option<&UserRecord>, now: Timestamp) -> String {
        match step {
            Step::Insert { id, name, roles, disabled } => {
                let mut record = record(id, name);
                record.user.roles = roles.iter().map(|role| (*role).to_owned()).collect();
                record.user.disabled = *disabled;
                self.write(insert(record)).await
            }
            Step::Replace { id, behind, name, delete } => {
                let mut next = current.cloned().unwrap_or_else(|| record(id, name));
                let expected = next.user.version;
                if next.user.deleted_at.is_some() {
                    // Applications never write a tombstone again.
                    return String::new();
                }
                next.user.version = expected.next();
                next.user.deleted_at = delete.then_some(now);
                next.login_sequence += 100;
                if !delete {
                    (next.user.username, next.key) = ((*name).to_owned(), key(name));
                    next.user.profile.insert((*name).to_owned(), json!(expected.get()));
                }
                let expected = syntrix_storage_core::Version::new(expected.get() - behind);
                self.write(UserWrite::Replace { expected, record: Box::new(next) }).await
            }
            Step::Login { id: text, behind, failed } => {
                let current = current.cloned().unwrap_or_else(|| record(text, "nobody"));
                let (mut state, expected) = (current.login_state(), current.login_sequence);
                (state.sequence, state.stats.failed_attempts) = (expected + 1, *failed);
                (state.stats.lockout_count, state.window) = (failed + 1, u64::from(failed + 2));
                state.stats.last_failed_at = Some(now);
                let expected = expected.wrapping_sub(*behind);
                self.write(UserWrite::Login { id: id(text), expected, state }).await
            }
            Step::Get(id) => format!("{:?}", self.stored(id).await.as_ref().map(shown)),
            Step::GetByName(name) => {
                let users = self.0.users().expect("users");
                let found = users.get_by_name(&key(name), &context(Operation::Read)).await;
                format!("{:?}", found.expect("get").value.as_ref().map(shown))
            }
            Step::List { prefix, role, disabled, limit } => {
                let mut filter = UserFilter::default();
                filter.name_prefix = Some((*prefix).to_owned());
                (filter.role, filter.disabled) = (role.map(str::to_owned), *disabled);
                self.list(&filter, *limit).await.expect("list")
            }
            Step::Advance(_) => String::new(),
        }
    }
}

fn about(step: &Step) -> Option<&'static str> {
    match step {
        Step::Replace { id, .. } | Step::Login { id, .. } => Some(id),
        _ => None,
    }
}

async fn compare(steps: &[Step]) {
    let folder = tempfile::tempdir().expect("folder");
    let clock = ManualClock::starting_at(START);
    let open = OpenContext::new(folder.path()).with_clock(Arc::new(clock.clone()));
    let memory = syntrix_storage_memory::factory().configure(&node(&json!({}))).expect("settings");
    let memory = Side::open(memory, &open).await;
    let file = Side::open(provider(&json!({"synchronous": "normal"})), &open).await;
    let mut elapsed = 0;
    for step in steps {
        if let Step::Advance(milliseconds) = step {
            elapsed += i64::try_from(*milliseconds).expect("small");
            clock.advance(Duration::from_millis(*milliseconds));
        }
        let now = Timestamp::from_milliseconds(START + elapsed);
        let current = match about(step) {
            Some(id) => memory.stored(id).await,
            None => None,
        };
        let expected = memory.run(step, current.as_ref(), now).await;
        assert_eq!(file.run(step, current.as_ref(), now).await, expected, "{step:?}");
    }
    for text in IDS {
        let ids: [Option<UserRecord>; 2] = [memory.stored(text).await, file.stored(text).await];
        let [expected, found] = ids.map(|record| record.as_ref().map(shown));
        assert_eq!(found, expected);
    }
    file.0.close().await.expect("close");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn the_file_answers_as_memory_does(steps in vec(step(), 1..120)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("runtime").block_on(compare(&steps));
    }
}
