//! The accounts of a namespace: two maps under one lock.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use syntrix_storage_core::backend::{
    CallContext, Dated, LoginState, UserApplied, UserBackend, UserChanges, UserRecord, UserWrite,
};
use syntrix_storage_core::{
    Capabilities, Clock, HealthReport, Position, Result, UserId, UserListPlan, UsernameKey, Version,
};

use crate::connect::{Data, Handle, lock};
use crate::journal::Journal;

/// All accounts, tombstones included, and who has which name.
#[derive(Debug, Default)]
pub(crate) struct UserTable {
    records: BTreeMap<UserId, UserRecord>,
    names: HashMap<UsernameKey, UserId>,
    journal: Journal,
}

impl UserTable {
    fn by_name(&self, key: &UsernameKey) -> Option<&UserRecord> {
        self.names.get(key).and_then(|id| self.records.get(id))
    }

    fn write(&mut self, write: UserWrite) -> UserApplied {
        let id = write.id().clone();
        let applied = match write {
            UserWrite::Insert(record) => self.insert(*record),
            UserWrite::Replace { expected, record } => self.replace(expected, *record),
            UserWrite::Login { id, expected, state } => self.set_login(&id, expected, state),
            UserWrite::Swap { expected, record } => self.swap(expected, *record),
        };
        if applied == UserApplied::Yes {
            self.journal.note(id);
        }
        applied
    }

    fn changes_since(&self, place: &Position, limit: usize) -> Result<UserChanges> {
        let page = self.journal.since(place, limit)?;
        let records = page.ids.iter().filter_map(|id| self.records.get(id).cloned()).collect();
        Ok(UserChanges { records, end: page.end, more: page.more })
    }

    fn insert(&mut self, record: UserRecord) -> UserApplied {
        if self.records.contains_key(&record.user.id) {
            return UserApplied::IdTaken;
        }
        if self.is_name_taken(&record) {
            return UserApplied::NameTaken;
        }
        self.store(record);
        UserApplied::Yes
    }

    /// Whether another account has the name. A tombstone has none, so it takes and needs none.
    fn is_name_taken(&self, record: &UserRecord) -> bool {
        let owner = self.names.get(&record.key);
        record.user.deleted_at.is_none() && owner.is_some_and(|owner| *owner != record.user.id)
    }

    fn swap(&mut self, expected: (Version, u64), record: UserRecord) -> UserApplied {
        let found = self.records.get(&record.user.id);
        if found.map(|found| (found.user.version, found.login_sequence)) != Some(expected) {
            return UserApplied::Stale;
        }
        let (id, login) = (record.user.id.clone(), record.login_state());
        match self.replace(expected.0, record) {
            UserApplied::Yes => self.set_login(&id, expected.1, login),
            refused => refused,
        }
    }

    fn replace(&mut self, expected: Version, mut record: UserRecord) -> UserApplied {
        let Some(current) = self.records.get(&record.user.id) else { return UserApplied::Stale };
        if current.user.version != expected {
            return UserApplied::Stale;
        }
        let (freed, login) = (current.key.clone(), current.login_state());
        if self.is_name_taken(&record) {
            return UserApplied::NameTaken;
        }
        record.set_login_state(login);
        // A tombstone's old name may be another account's by now.
        if self.names.get(&freed) == Some(&record.user.id) {
            self.names.remove(&freed);
        }
        self.store(record);
        UserApplied::Yes
    }

    fn set_login(&mut self, id: &UserId, expected: u64, state: LoginState) -> UserApplied {
        match self.records.get_mut(id) {
            Some(record) if record.login_sequence == expected => {
                record.set_login_state(state);
                UserApplied::Yes
            }
            _ => UserApplied::Stale,
        }
    }

    /// A tombstone keeps its id and frees its name.
    fn store(&mut self, record: UserRecord) {
        if record.user.deleted_at.is_none() {
            self.names.insert(record.key.clone(), record.user.id.clone());
        }
        self.records.insert(record.user.id.clone(), record);
    }
}

/// One handle on the accounts.
#[derive(Debug)]
pub(crate) struct MemoryUsers {
    data: Handle,
    clock: Arc<dyn Clock>,
}

impl MemoryUsers {
    pub(crate) fn new(data: Arc<Data>, clock: Arc<dyn Clock>) -> Self {
        Self { data: Handle::new(data), clock }
    }

    fn dated<T>(&self, read: impl FnOnce(&UserTable) -> T) -> Result<Dated<T>> {
        let data = self.data.get()?;
        let table = lock(&data.users);
        Ok(Dated { value: read(&table), now: self.clock.now() })
    }
}

#[async_trait]
impl UserBackend for MemoryUsers {
    fn kind(&self) -> &'static str {
        crate::KIND
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::NONE;
        capabilities.injected_clock = true;
        capabilities
    }

    async fn get(&self, id: &UserId, _: &CallContext) -> Result<Dated<Option<UserRecord>>> {
        self.dated(|table| table.records.get(id).cloned())
    }

    async fn get_by_name(
        &self,
        key: &UsernameKey,
        _: &CallContext,
    ) -> Result<Dated<Option<UserRecord>>> {
        self.dated(|table| table.by_name(key).cloned())
    }

    async fn write(&self, write: UserWrite, _: &CallContext) -> Result<UserApplied> {
        let data = self.data.get()?;
        let applied = lock(&data.users).write(write);
        Ok(applied)
    }

    async fn list(&self, plan: &UserListPlan, _: &CallContext) -> Result<Vec<UserRecord>> {
        let select = |table: &UserTable| {
            let selected = table.records.values().filter(|record| plan.selects(record));
            selected.take(plan.rows_max()).cloned().collect()
        };
        Ok(self.dated(select)?.value)
    }

    async fn scan(
        &self,
        after: Option<&UserId>,
        limit: usize,
        _: &CallContext,
    ) -> Result<Vec<UserRecord>> {
        let behind = |record: &&UserRecord| after.is_none_or(|after| record.user.id > *after);
        let select = |table: &UserTable| {
            table.records.values().filter(behind).take(limit).cloned().collect()
        };
        Ok(self.dated(select)?.value)
    }

    async fn changes_since(&self, place: &Position, limit: usize) -> Result<UserChanges> {
        lock(&self.data.get()?.users).changes_since(place, limit)
    }

    async fn changes_end(&self) -> Result<Position> {
        Ok(lock(&self.data.get()?.users).journal.end())
    }

    async fn wait_for_change(&self, place: &Position, timeout: Duration) -> Result<()> {
        let data = self.data.get()?;
        let mut news = lock(&data.users).journal.subscribe();
        let changed = news.wait_for(|last| *last > place.sequence);
        // News or time: the caller looks in any case.
        let _ = tokio::time::timeout(timeout, changed).await;
        Ok(())
    }

    /// The map of names is the index.
    async fn ensure_indexes(&self) -> Result<()> {
        self.data.get().map(drop)
    }

    async fn health(&self) -> Result<HealthReport> {
        let users = self.dated(|table| table.records.len())?.value;
        let report = HealthReport::new(crate::KIND, true);
        Ok(report.with_fact("durability", "none").with_fact("users", users))
    }

    async fn close(&self) -> Result<()> {
        self.data.release();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use syntrix_storage_core::{Timestamp, User};

    use super::*;

    fn record(id: &str, name: &str, deleted: bool) -> UserRecord {
        let (id, now) = (UserId::parse(id).expect("id"), Timestamp::from_milliseconds(1));
        let mut user = User::first(id, name, now);
        user.deleted_at = deleted.then_some(now);
        let (key, key_rule_version) =
            (UsernameKey::fold(name).expect("name"), UsernameKey::RULE_VERSION);
        UserRecord { user, key, key_rule_version, login_window: 0, login_sequence: 0 }
    }

    fn replace(table: &mut UserTable, record: UserRecord) -> UserApplied {
        table.write(UserWrite::Replace { expected: Version::FIRST, record: Box::new(record) })
    }

    #[test]
    fn a_tombstone_neither_needs_nor_frees_a_name() {
        let mut table = UserTable::default();
        let applied = table.write(UserWrite::Insert(Box::new(record("a", "ada", false))));
        assert_eq!(applied, UserApplied::Yes);
        let applied = table.write(UserWrite::Insert(Box::new(record("b", "ada", true))));
        assert_eq!(applied, UserApplied::Yes, "a tombstone may bear a name that is taken");
        assert_eq!(replace(&mut table, record("b", "bob", true)), UserApplied::Yes);
        let key = record("a", "ada", false).key;
        assert_eq!(table.by_name(&key).expect("still there").user.id.as_str(), "a");
        assert_eq!(replace(&mut table, record("b", "ada", false)), UserApplied::NameTaken);
    }
}
