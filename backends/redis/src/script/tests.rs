//! The script against the two functions whose meaning it has, at times that the test sets.

use redis::{Connection, FromRedisValue, Value};
use syntrix_storage_core::backend::{Insertion, merge_revocation};
use syntrix_storage_core::{Revocation, RevokeOutcome, Timestamp};

use super::*;
use crate::keys::Keys;
use crate::record;

/// Far enough ahead that the server's own clock removes nothing meanwhile.
const START: i64 = 20_000_000_000_000;

/// Whoever runs the script brings the time instead of the server.
fn with_time_given() -> Scripts {
    let text = CHANGE.replace("redis.call('TIME')", "{ARGV[13], ARGV[14]}");
    assert_ne!(text, CHANGE);
    Scripts { change: Source::new(Box::leak(text.into_boxed_str())), ..Scripts::new() }
}

fn connection() -> Connection {
    let url = std::env::var("SYNTRIX_STORAGE_TEST_REDIS").expect(
        "this test needs a Redis: SYNTRIX_STORAGE_TEST_REDIS must have its URL. \
         `cargo xtask servers up redis` starts one and prints the variable",
    );
    redis::Client::open(url).expect("client").get_connection().expect("connection")
}

/// A token with its record, once in the server and once as the functions have it.
struct Pair {
    connection: Connection,
    scripts: Scripts,
    keys: TokenKeys,
    token: TokenId,
    model: Option<Revocation>,
}

impl Pair {
    fn new() -> Self {
        let token = TokenId::parse(&format!("{:x}", fastrand::u128(..))).expect("token");
        let keys = Keys::new("script-test", None).token(&token);
        let (connection, scripts) = (connection(), with_time_given());
        Self { connection, scripts, keys, token, model: None }
    }

    /// Runs the script and the function, compares outcome and record, and goes on with both.
    fn step(&mut self, change: Change, request: &RevocationRequest, now: i64) {
        let (at, stored) = (Timestamp::from_milliseconds(now), self.model.as_ref());
        let (expected, next) = match change {
            Change::Join => {
                let (outcome, next) = request.join(stored, at);
                (name(outcome), next)
            }
            Change::Insert => {
                let (insertion, next) = request.insert(stored, at);
                (insertion_name(&insertion), next)
            }
            Change::Merge(revoked_at) => {
                let (outcome, next) = merge_revocation(&merged(request, revoked_at), stored, at);
                (name(outcome), next)
            }
        };
        self.model = next.or(self.model.take());
        let (time, outcome, shown) = self.run(change, request, now);
        assert_eq!((time, outcome.as_str()), (now, expected), "{request:?} on {:?}", self.model);
        let found = redis::cmd("GET").arg(&self.keys.record).query(&mut self.connection);
        let found: Option<Vec<u8>> = found.expect("get");
        let found = found.map(|text| record::decode(&self.token, &text).expect("a record"));
        assert_eq!(found, self.model, "{request:?} at {now}");
        let shown = shown.map(|text| record::decode(&self.token, &text).expect("a record"));
        assert_eq!(shown.is_some(), outcome == "present");
        assert!(shown.is_none() || shown == found);
    }

    fn run(
        &mut self,
        change: Change,
        request: &RevocationRequest,
        now: i64,
    ) -> (i64, String, Option<Vec<u8>>) {
        let mut command =
            self.scripts.change(change, &self.keys, request, fastrand::bool()).by_text();
        command.arg(now / 1000).arg(now % 1000 * 1000);
        let answer: Value = command.query(&mut self.connection).expect("script");
        type Answer = (i64, Option<Vec<u8>>, String, Option<Vec<u8>>);
        let (time, _, outcome, shown) = Answer::from_redis_value(answer).expect("answer");
        (time, outcome, shown)
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        let _ = redis::cmd("DEL").arg(&self.keys.record).query::<Value>(&mut self.connection);
    }
}

fn merged(request: &RevocationRequest, revoked_at: Timestamp) -> Revocation {
    let RevocationRequest { token, immediate, expires_at, keep_until, .. } = request.clone();
    let RevocationRequest { reason, subject, family, successor, .. } = request.clone();
    Revocation {
        token,
        revoked_at,
        immediate,
        expires_at,
        keep_until,
        reason,
        subject,
        family,
        successor,
    }
}

fn name(outcome: RevokeOutcome) -> &'static str {
    match outcome {
        RevokeOutcome::Inserted => "inserted",
        RevokeOutcome::Tightened => "tightened",
        RevokeOutcome::Unchanged => "unchanged",
        RevokeOutcome::AlreadyExpired => "expired",
        _ => "unknown",
    }
}

fn insertion_name(insertion: &Insertion) -> &'static str {
    match insertion {
        Insertion::Inserted => "inserted",
        Insertion::Present(_) => "present",
        Insertion::AlreadyExpired => "expired",
    }
}

fn random_text(random: &mut fastrand::Rng) -> Option<String> {
    ["a reason", "", "b\n1 -1", "ü☃ {x}", "+", "-"]
        .get(random.usize(..9))
        .map(|text| (*text).to_owned())
}

fn random_request(random: &mut fastrand::Rng, token: &TokenId) -> RevocationRequest {
    let expires_at = START + random.i64(-50..300);
    RevocationRequest {
        token: token.clone(),
        immediate: random.bool(),
        expires_at: Timestamp::from_milliseconds(expires_at),
        keep_until: Timestamp::from_milliseconds(expires_at + random.i64(0..50)),
        reason: random_text(random),
        subject: random_text(random),
        family: random_text(random),
        successor: random.bool().then(|| {
            TokenId::parse(random.choice(["next", "n", "z"]).expect("one")).expect("token")
        }),
    }
}

/// Also with a clock that is set back now and then.
#[test]
fn the_script_decides_as_the_functions_do_in_random_histories() {
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..300 {
        let mut pair = Pair::new();
        let mut now = START;
        for _ in 0..random.usize(1..12) {
            now += random.i64(-5..40);
            let request = random_request(&mut random, &pair.token);
            let change = match random.u8(..3) {
                0 => Change::Join,
                1 => Change::Insert,
                _ => Change::Merge(Timestamp::from_milliseconds(START + random.i64(-100..300))),
            };
            pair.step(change, &request, now);
        }
    }
}

#[test]
fn the_largest_times_lose_no_digit() {
    let mut random = fastrand::Rng::with_seed(1);
    let mut pair = Pair::new();
    let mut request = random_request(&mut random, &pair.token);
    request.expires_at = Timestamp::LATEST;
    request.keep_until = Timestamp::LATEST;
    pair.step(Change::Join, &request, START + 999);
    assert_eq!(pair.model.as_ref().map(|record| record.keep_until), Some(Timestamp::LATEST));
}

#[test]
fn every_pair_of_requests_comes_to_what_the_functions_say() {
    let mut random = fastrand::Rng::with_seed(3);
    for bits in 0..64_u8 {
        let mut pair = Pair::new();
        let ask = |immediate: bool, later: bool, with_text: bool| RevocationRequest {
            immediate,
            expires_at: Timestamp::from_milliseconds(START + if later { 200 } else { 100 }),
            keep_until: Timestamp::from_milliseconds(START + if later { 200 } else { 100 }),
            reason: with_text.then(|| format!("{bits}")),
            ..random_request(&mut fastrand::Rng::with_seed(5), &TokenId::parse("x").expect("x"))
        };
        let bit = |place: u8| bits >> place & 1 == 1;
        let first = RevocationRequest { token: pair.token.clone(), ..ask(bit(0), bit(1), bit(2)) };
        let second = RevocationRequest { token: pair.token.clone(), ..ask(bit(3), bit(4), bit(5)) };
        pair.step(Change::Join, &first, START);
        pair.step(Change::Join, &second, START + random.i64(0..250));
        pair.step(Change::Insert, &second, START + 260);
    }
}
