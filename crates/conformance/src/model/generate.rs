//! Random scripts. Names come from few, so that operations meet; everything follows from the seed.

use serde_json::{Map, Value, json};

use super::script::{Condition, Expected, Script, Step};
use super::side::Scope;
use crate::cases::random::{Random, field_of};

const PATHS: [&str; 5] = ["rooms/a", "rooms/b", "rooms/c", "rooms/a/seats/1", "halls/a"];
const COLLECTIONS: [&str; 4] = ["rooms", "rooms", "rooms/a/seats", "halls"];
const SYSTEM: [&str; 4] = ["version", "updatedAt", "fullpath", "deleted"];
const OPERATORS: [&str; 8] = ["==", "!=", "<", "<=", ">", ">=", "in", "contains"];
const IDS: [&str; 4] = ["u1", "u2", "U1", "u-3"];
const NAMES: [&str; 6] = ["Ada", "ADA", "ada2", "bob", "b@x", "a b"];
const ROLES: [&str; 3] = ["r", "rr", "admin"];
const PREFIXES: [&str; 4] = ["", "a", "AD", "bob"];
const REASONS: [&str; 2] = ["first", "second"];
const TOKENS: [&str; 4] = ["t", "T", "t2", "t\u{e9}"];
const MINUTE_MS: u64 = 60_000;
const DAY_MS: u64 = 24 * 60 * MINUTE_MS;
/// Around the edges of what counts: grace, login window, lock, margin behind an expiry, retention.
const ADVANCES_MS: [u64; 9] = [
    1,
    999,
    30_000,
    MINUTE_MS,
    5 * MINUTE_MS,
    15 * MINUTE_MS,
    60 * MINUTE_MS,
    4 * DAY_MS,
    31 * DAY_MS,
];
const GRACES_MS: [u64; 5] = [0, 1, 30_000, 5 * MINUTE_MS, 48 * 60 * MINUTE_MS];
/// Without a clock to move, only what holds for as long as any script runs.
const GRACES_STILL_MS: [u64; 2] = [0, 5 * MINUTE_MS];
const EXPIRIES_S: [i64; 8] = [-3600, -300, -299, 0, 30, 900, 3600, 400_000_000_000];
const EXPIRIES_STILL_S: [i64; 4] = [-7200, 3600, 7200, 400_000_000_000];

pub(super) fn script(scope: &Scope, seed: u64, steps_max: usize) -> Script {
    let mut generator = Generator { random: Random::seeded(seed), scope: *scope };
    let stores = generator.stores();
    let count = generator.random.rng.usize(1..=steps_max.max(1));
    let steps = (0..count).map(|_| generator.step(&stores)).collect();
    Script { fast_paths: generator.random.rng.bool(), steps }
}

type Make = fn(&mut Generator) -> Step;

struct Generator {
    random: Random,
    scope: Scope,
}

impl Generator {
    /// What makes steps: for all stores, or for one of them, so that many meet on few records.
    fn stores(&mut self) -> Vec<Make> {
        let offered = [
            (self.scope.documents, Self::document as Make),
            (self.scope.users, Self::user as Make),
            (self.scope.revocations, Self::token as Make),
        ];
        let offered: Vec<_> =
            offered.into_iter().filter(|(offered, _)| *offered).map(|(_, make)| make).collect();
        match offered.is_empty() || self.random.one_in(3) {
            true => offered,
            false => vec![*self.random.pick(&offered)],
        }
    }

    fn step(&mut self, stores: &[Make]) -> Step {
        match self.random.rng.u8(..20) {
            0 => Step::Reopen,
            1 | 2 => Step::Advance { ms: *self.random.pick(&ADVANCES_MS) },
            _ if stores.is_empty() => Step::Reopen,
            _ => self.random.pick(stores)(self),
        }
    }

    fn document(&mut self) -> Step {
        match self.random.rng.u8(..24) {
            0..=11 => self.write(),
            12 | 13 => Step::Get { path: self.path() },
            14 => Step::GetMany { paths: (0..4).map(|_| self.path()).collect() },
            15 | 16 => {
                let count = self.random.rng.usize(1..6);
                Step::Bulk { items: (0..count).map(|_| self.write()).collect() }
            }
            17..=20 => self.query(),
            21 => Step::Purge { limit: self.random.rng.usize(1..4) },
            22 => Step::Drain,
            _ => Step::Resume,
        }
    }

    fn write(&mut self) -> Step {
        let path = self.path();
        let (version, conditions) = (self.expected(), self.conditions(4));
        match self.random.rng.u8(..10) {
            0..=3 => Step::Create { path, data: self.data() },
            4 | 5 => Step::Update { path, data: self.data(), version, conditions },
            6 | 7 => Step::Patch { path, changes: self.changes(), version, conditions },
            _ => Step::Delete { path, version, conditions },
        }
    }

    fn path(&mut self) -> String {
        (*self.random.pick(&PATHS)).to_owned()
    }

    fn data(&mut self) -> Value {
        match self.random.one_in(20) {
            true => json!({"version": 1}),
            false => self.random.object(2).into(),
        }
    }

    fn changes(&mut self) -> Map<String, Value> {
        let count = self.random.rng.usize(..3);
        let change = |_| {
            let field = field_of(&self.random.keys());
            match self.random.one_in(4) {
                true => (field, json!({"$delete": true})),
                false => (field, self.random.value(1)),
            }
        };
        (0..=count).map(change).collect()
    }

    /// Mostly none, so that most writes happen.
    fn expected(&mut self) -> Expected {
        match self.random.rng.u8(..6) {
            0 => Expected::Current,
            1 => Expected::Previous,
            _ => Expected::Any,
        }
    }

    fn conditions(&mut self, rarity: usize) -> Vec<Condition> {
        match self.random.one_in(rarity) {
            true => vec![self.condition()],
            false => Vec::new(),
        }
    }

    fn condition(&mut self) -> Condition {
        let (field, operator) = (self.field(), *self.random.pick(&OPERATORS));
        let operand = match operator {
            "in" => (0..self.random.rng.usize(..4))
                .map(|_| self.random.scalar())
                .collect::<Vec<_>>()
                .into(),
            _ => self.random.scalar(),
        };
        (field, operator.to_owned(), operand)
    }

    fn field(&mut self) -> String {
        match self.random.one_in(5) {
            true => (*self.random.pick(&SYSTEM)).to_owned(),
            false => field_of(&[self.random.key()]),
        }
    }

    fn query(&mut self) -> Step {
        let filters = (0..self.random.rng.usize(..3)).map(|_| self.condition()).collect();
        let direction = |desc| if desc { "desc" } else { "asc" }.to_owned();
        let order = (0..self.random.rng.usize(..3))
            .map(|_| (self.field(), direction(self.random.rng.bool())))
            .collect();
        Step::Query {
            collection: (*self.random.pick(&COLLECTIONS)).to_owned(),
            filters,
            order,
            limit: self.random.rng.u32(1..4),
            deleted: self.random.one_in(3),
        }
    }

    fn user(&mut self) -> Step {
        let (id, version) = (self.name(&IDS), self.expected());
        let threshold = self.random.rng.u32(1..4);
        match self.random.rng.u8(..24) {
            0..=4 => {
                let (roles, profile) = (self.roles(), self.random.object(1));
                Step::CreateUser { id, name: self.name(&NAMES), roles, profile }
            }
            5..=8 => self.update_user(id, version),
            9 => {
                let (second, end_sessions) = (self.random.rng.bool(), self.random.rng.bool());
                Step::SetPassword { id, second, end_sessions, version }
            }
            10..=13 => Step::Attempt { id, threshold },
            14 | 15 => Step::Fail { id, threshold },
            16 | 17 => {
                let age = self.random.rng.usize(..3);
                Step::Succeed { id, ticket: self.random.rng.bool().then_some(age) }
            }
            18 => {
                let (failed, locked) = (self.random.rng.u32(..3), self.random.one_in(3));
                Step::SetLogins { id, failed, locked }
            }
            19 => Step::GetUser { id },
            20 => Step::FindUser { name: self.name(&NAMES) },
            _ => self.list(),
        }
    }

    fn update_user(&mut self, id: String, version: Expected) -> Step {
        Step::UpdateUser {
            id,
            name: self.sometimes(|random| (*random.pick(&NAMES)).to_owned()),
            roles: self.sometimes(|random| vec![(*random.pick(&ROLES)).to_owned()]),
            disabled: self.sometimes(|random| !random.one_in(3)),
            reason: self.sometimes(|random| (*random.pick(&REASONS)).to_owned()),
            version,
        }
    }

    fn list(&mut self) -> Step {
        Step::ListUsers {
            prefix: self.sometimes(|random| (*random.pick(&PREFIXES)).to_owned()),
            role: self.sometimes(|random| (*random.pick(&ROLES)).to_owned()),
            disabled: self.sometimes(|random| random.rng.bool()),
            limit: self.random.rng.u32(1..4),
        }
    }

    fn roles(&mut self) -> Vec<String> {
        (0..self.random.rng.usize(..3)).map(|_| self.name(&ROLES)).collect()
    }

    fn token(&mut self) -> Step {
        let token = self.name(&TOKENS);
        let (expiries, graces): (&[i64], &[u64]) = match self.scope.moves_revocations {
            true => (&EXPIRIES_S, &GRACES_MS),
            false => (&EXPIRIES_STILL_S, &GRACES_STILL_MS),
        };
        let (expires_s, grace_ms) = (*self.random.pick(expiries), *self.random.pick(graces));
        match self.random.rng.u8(..10) {
            0..=3 => Step::Revoke {
                token,
                expires_s,
                immediate: self.random.one_in(3),
                reason: self.sometimes(|random| (*random.pick(&REASONS)).to_owned()),
            },
            4 | 5 => {
                let successor = format!("next{}", self.random.rng.u8(..3));
                Step::Rotate { token, expires_s, grace_ms, successor }
            }
            6..=8 => {
                let count = self.random.rng.usize(1..4);
                Step::Check { tokens: (0..count).map(|_| self.name(&TOKENS)).collect(), grace_ms }
            }
            _ => Step::PurgeTokens { limit: self.random.rng.usize(1..4) },
        }
    }

    fn name(&mut self, names: &[&str]) -> String {
        (*self.random.pick(names)).to_owned()
    }

    fn sometimes<T>(&mut self, make: impl FnOnce(&mut Random) -> T) -> Option<T> {
        self.random.one_in(3).then(|| make(&mut self.random))
    }
}
