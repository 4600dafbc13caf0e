//! Revoked tokens: whole histories, compared with what the specification's table says of them.

use std::fmt;
use std::time::Duration;

use futures_util::future::try_join_all;
use syntrix_storage_core::{
    GRACE_MAX, RevocationStatus, RevokeOutcome, RotationOutcome, Timestamp, TokenId,
};

use super::random::Random;
use super::rev_tokens::{
    GRACE, HOUR, MARGIN, MILLISECOND, SECOND, Tokens, after, graces, id, ids, purge_all,
};
use crate::case::case;
use crate::{Case, CaseResult, Context, expect, expect_equal};

pub(super) static CASES: &[Case] = &[
    case!(
        "REV-34",
        Rev,
        "Every history of up to 3 calls, whatever their kind, time and expiry, ends as it should.",
        "The one combination that nobody thought of: a logout after a rotation, for example.",
        [InjectedClock],
        async |context| {
            let (mut compared, expiries) = (0, [MARGIN_AGO_AND_20_S, HOUR, 2 * HOUR]);
            for pauses in every_sequence(&PAUSES, 2) {
                compared += play_all(&context, &expiries, &pauses).await?;
            }
            expect_equal(compared, 9 * 729 * 17, "answers that were compared")
        }
    ),
    case!(
        "REV-35",
        Rev,
        "Every history of up to 4 calls of one expiry, whatever their kind and time, ends as it should.",
        "Combinations that only a fourth call brings about.",
        [InjectedClock],
        async |context| {
            let mut compared = 0;
            for pauses in every_sequence(&PAUSES, 3) {
                compared += play_all(&context, &[HOUR], &pauses).await?;
            }
            expect_equal(compared, 27 * 81 * 19, "answers that were compared")
        }
    ),
    case!(
        "REV-36",
        Rev,
        "Long random histories, with purges in between, end as they should.",
        "What only many calls bring about, and a purge that changes answers.",
        [InjectedClock],
        async |context| {
            let (mut random, mut histories) = (Random::new(), History::many("random", 60)?);
            for round in 0..60 {
                let played = random_round(&context, &mut random, &mut histories).await;
                random.explain(round, played)?;
            }
            Ok(())
        }
    ),
    case!(
        "REV-37",
        Rev,
        "What several revocations of one moment come to does not depend on their order.",
        "The last call winning, or the first.",
        [InjectedClock],
        async |context| {
            let calls = [
                (false, after(&context, HOUR)),
                (true, after(&context, 2 * HOUR)),
                (false, after(&context, 3 * HOUR)),
                (true, after(&context, HOUR / 2)),
            ];
            let (tokens, since) = (Tokens::of(&context), after(&context, Duration::ZERO));
            let mut revoked = Vec::new();
            for order in orders(calls.len()) {
                let token = id(&format!("{order:?}"))?;
                for (immediate, expires_at) in order.iter().map(|number| calls[*number]) {
                    match immediate {
                        true => tokens.revoke_at_once(&token, expires_at).await?,
                        false => tokens.revoke(&token, expires_at).await?,
                    };
                }
                let immediate = order.iter().any(|number| calls[*number].0);
                let status = RevocationStatus::Revoked { since, immediate, reason: None };
                let found = tokens.status(&token, Duration::ZERO).await?;
                expect_equal(found, status, format_args!("status after {order:?}"))?;
                tokens.expect(&token, GRACE, immediate, token.as_str()).await?;
                let latest = order.iter().map(|number| calls[*number].1).max();
                revoked.push((token, latest.unwrap_or_default().saturating_add(MARGIN)));
            }
            expect_equal(revoked.len(), 64, "orders of up to 4 calls")?;
            for (_, expires_at) in calls {
                context.clock().set(expires_at.saturating_add(MARGIN).as_milliseconds());
                for (token, end) in &revoked {
                    let kept = after(&context, Duration::ZERO) < *end;
                    tokens.expect(token, GRACE, kept, token.as_str()).await?;
                }
            }
            Ok(())
        }
    ),
    case!(
        "REV-38",
        Rev,
        "A token never becomes usable again before its record is over, nor by a smaller grace.",
        "A clock, a cache or a rounding that lets a revoked token through for a moment.",
        [InjectedClock],
        async |context| {
            let (tokens, all) = (Tokens::of(&context), [id("graceful")?, id("ended")?]);
            let expires_at = after(&context, 2 * MARGIN);
            for token in &all {
                tokens.revoke(token, expires_at).await?;
            }
            let mut before = vec![vec![false; 2]; graces().len()];
            for step in 0..(3 * MARGIN.as_secs() / 5) {
                if step == 4 {
                    tokens.revoke_at_once(&all[1], expires_at).await?;
                }
                let mut now = Vec::new();
                for grace in graces() {
                    now.push(tokens.many(&all, grace).await?);
                }
                for (token, grace) in
                    (0..2).flat_map(|token| (0..now.len()).map(move |g| (token, g)))
                {
                    let loosened = before[grace][token] && !now[grace][token];
                    expect(!loosened, format_args!("step {step}, token {token}: usable again"))?;
                    let inverted = grace > 0 && now[grace][token] && !now[grace - 1][token];
                    expect(!inverted, format_args!("step {step}, token {token}: less is more"))?;
                }
                before = now;
                context.clock().advance(5 * SECOND);
            }
            expect_equal(before, vec![vec![true; 2]; graces().len()], "the last answers")?;
            expect_equal(tokens.many(&all, GRACE).await?, vec![false; 2], "when all is over")
        }
    ),
];

/// Between two calls: within the grace of 30 s, exactly that, and beyond. Two short ones make 20 s.
const PAUSES: [Duration; 3] =
    [Duration::from_secs(10), Duration::from_secs(30), Duration::from_secs(31)];

/// Stands for an expiry that ends the record 20 s from the start: the token expired some minutes ago.
const MARGIN_AGO_AND_20_S: Duration = Duration::ZERO;

/// Graces with ends at the sums of pauses, between them, and above the longest there is.
const GRACES: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(20_000), GRACE, Duration::from_secs(3600)];

/// Every order of every choice of 1 to `count` numbers below `count`.
fn orders(count: usize) -> Vec<Vec<usize>> {
    let numbers: Vec<usize> = (0..count).collect();
    let sequences = (1..=count).flat_map(|length| every_sequence(&numbers, length));
    sequences
        .filter(|order| (1..order.len()).all(|end| !order[..end].contains(&order[end])))
        .collect()
}

/// Every sequence of `length` items, repetitions included.
fn every_sequence<T: Copy>(items: &[T], length: usize) -> Vec<Vec<T>> {
    let mut sequences = vec![Vec::new()];
    for _ in 0..length {
        let longer = |sequence: &Vec<T>| -> Vec<Vec<T>> {
            items.iter().map(|item| [sequence.as_slice(), &[*item]].concat()).collect()
        };
        sequences = sequences.iter().flat_map(longer).collect();
    }
    sequences
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Graceful,
    Immediate,
    IfNotRevoked,
}

const ACTIONS: [Action; 3] = [Action::Graceful, Action::Immediate, Action::IfNotRevoked];

/// A call that counts for the table.
#[derive(Clone, Debug)]
struct Call {
    at: Timestamp,
    immediate: bool,
    expires_at: Timestamp,
    successor: Option<TokenId>,
}

/// A token, all that happened to it, and what the specification's table says of that. It keeps no record: every answer is
/// derived from all calls.
#[derive(Clone, Debug)]
struct History {
    token: TokenId,
    /// Since the token was last unknown.
    calls: Vec<Call>,
    /// For the failure's text.
    log: String,
}

impl History {
    fn many(name: &str, count: usize) -> CaseResult<Vec<Self>> {
        let fresh = |token| Self { token, calls: Vec::new(), log: String::new() };
        Ok(ids(name, count)?.into_iter().map(fresh).collect())
    }

    /// The calls that count at `now`: none when the latest expiry and the margin behind it are over.
    fn known(&self, now: Timestamp) -> &[Call] {
        let latest = self.calls.iter().map(|call| call.expires_at).max();
        let over = latest.is_none_or(|latest| now >= latest.saturating_add(MARGIN));
        if over { &[] } else { &self.calls }
    }

    /// Row by row: nobody, anybody at once, or the first call and the grace.
    fn status(&self, now: Timestamp, grace: Duration) -> RevocationStatus {
        let calls = self.known(now);
        let Some(first) = calls.first() else { return RevocationStatus::NotRevoked };
        let (since, immediate) = (first.at, calls.iter().any(|call| call.immediate));
        let grace = Duration::min(grace, GRACE_MAX);
        if immediate || now.since(since) >= grace {
            return RevocationStatus::Revoked { since, immediate, reason: None };
        }
        let successor = first.successor.clone();
        RevocationStatus::Grace { until: since.saturating_add(grace), successor }
    }

    fn is_revoked(&self, now: Timestamp, grace: Duration) -> bool {
        matches!(self.status(now, grace), RevocationStatus::Revoked { .. })
    }

    /// Notes a call that is stored; `None` if the token expired too long ago for that.
    fn note(&mut self, call: Call) -> Option<RevokeOutcome> {
        let known = self.known(call.at).to_vec();
        if known.is_empty() {
            let stored = call.at < call.expires_at.saturating_add(MARGIN);
            return stored.then(|| {
                self.calls = vec![call];
                RevokeOutcome::Inserted
            });
        }
        let stricter = (call.immediate && !known.iter().any(|earlier| earlier.immediate))
            || known.iter().all(|earlier| earlier.expires_at < call.expires_at);
        self.calls.push(call);
        Some(if stricter { RevokeOutcome::Tightened } else { RevokeOutcome::Unchanged })
    }

    /// Makes one call and compares what it says with what it should say.
    async fn call(
        &mut self,
        tokens: &Tokens,
        now: Timestamp,
        action: Action,
        expires_at: Timestamp,
    ) -> CaseResult {
        self.log.push_str(&format!("{action:?} at {now} until {expires_at}; "));
        let (token, immediate) = (self.token.clone(), action == Action::Immediate);
        let mut call = Call { at: now, immediate, expires_at, successor: None };
        let what = self.log.clone();
        if action == Action::IfNotRevoked {
            let successor = id(&format!("{}>{now}", token.as_str()))?;
            call.successor = Some(successor.clone());
            let expected = self.rotate(call);
            let outcome = tokens.rotate(&token, expires_at, GRACE, &successor).await?;
            return expect_equal(outcome, expected, what);
        }
        let expected = self.note(call).unwrap_or(RevokeOutcome::AlreadyExpired);
        let outcome = match immediate {
            true => tokens.revoke_at_once(&token, expires_at).await?,
            false => tokens.revoke(&token, expires_at).await?,
        };
        expect_equal(outcome, expected, what)
    }

    /// A rotation counts only if nobody revoked the token before.
    fn rotate(&mut self, call: Call) -> RotationOutcome {
        match self.status(call.at, GRACE) {
            RevocationStatus::NotRevoked => match self.note(call) {
                Some(_) => RotationOutcome::Won,
                None => RotationOutcome::AlreadyExpired,
            },
            RevocationStatus::Grace { successor, .. } => {
                RotationOutcome::InGrace { since: self.calls[0].at, successor }
            }
            // Revoked: the reference knows no other status.
            _ => RotationOutcome::Revoked { since: self.calls[0].at },
        }
    }
}

impl fmt::Display for History {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} after {}", self.token.as_str(), self.log)
    }
}

/// Plays every sequence of actions and expiries with these pauses between the calls, all side by side, and looks at every
/// answer after every call and when the records end. The number of answers compared.
async fn play_all(
    context: &Context,
    expiries: &[Duration],
    pauses: &[Duration],
) -> CaseResult<usize> {
    let start = after(context, Duration::ZERO);
    let choices: Vec<_> = ACTIONS
        .into_iter()
        .flat_map(|action| expiries.iter().map(move |expiry| (action, *expiry)))
        .collect();
    let plans = every_sequence(&choices, pauses.len() + 1);
    let mut histories = History::many(&format!("{start}"), plans.len())?;
    let mut compared = 0;
    for step in 0..=pauses.len() {
        let calls = plans.iter().map(|plan| (plan[step].0, expiry(start, plan[step].1)));
        call_all(context, &mut histories, &calls.collect::<Vec<_>>()).await?;
        compared += compare(context, &histories, &GRACES).await?;
        context.clock().advance(pauses.get(step).copied().unwrap_or_default());
    }
    compare_statuses(context, &histories).await?;
    for end in expiries.iter().map(|end| expiry(start, *end).saturating_add(MARGIN)) {
        for moment in [end.saturating_sub(MILLISECOND), end] {
            if moment > after(context, Duration::ZERO) {
                context.clock().set(moment.as_milliseconds());
                compared += compare(context, &histories, &[GRACE]).await?;
            }
        }
    }
    expect_equal(purge_all(context).await?, histories.len(), "records in the end")?;
    Ok(compared + compare(context, &histories, &[GRACE]).await?)
}

fn expiry(start: Timestamp, expiry: Duration) -> Timestamp {
    match expiry {
        MARGIN_AGO_AND_20_S => start.saturating_sub(MARGIN).saturating_add(20 * SECOND),
        ahead => start.saturating_add(ahead),
    }
}

/// Makes one call for each history, many at once, so that a store that groups writes can do so.
async fn call_all(
    context: &Context,
    histories: &mut [History],
    calls: &[(Action, Timestamp)],
) -> CaseResult {
    let (tokens, now) = (Tokens::of(context), after(context, Duration::ZERO));
    for (histories, calls) in histories.chunks_mut(200).zip(calls.chunks(200)) {
        let mut running = Vec::new();
        for (history, (action, expires_at)) in histories.iter_mut().zip(calls) {
            running.push(history.call(&tokens, now, *action, *expires_at));
        }
        try_join_all(running).await?;
    }
    Ok(())
}

/// Fails unless the store says of every token what its history comes to; the number of answers.
async fn compare(
    context: &Context,
    histories: &[History],
    graces: &[Duration],
) -> CaseResult<usize> {
    let (tokens, now) = (Tokens::of(context), after(context, Duration::ZERO));
    for histories in histories.chunks(1000) {
        let all: Vec<_> = histories.iter().map(|history| history.token.clone()).collect();
        for grace in graces {
            let answers = tokens.many(&all, *grace).await?;
            expect_equal(answers.len(), all.len(), "answers")?;
            for (history, answer) in histories.iter().zip(answers) {
                let expected = history.is_revoked(now, *grace);
                expect_equal(answer, expected, format_args!("{history}, {grace:?} at {now}"))?;
            }
        }
    }
    Ok(histories.len() * graces.len())
}

async fn compare_statuses(context: &Context, histories: &[History]) -> CaseResult {
    let (tokens, now) = (Tokens::of(context), after(context, Duration::ZERO));
    for history in histories {
        let (status, expected) =
            (tokens.status(&history.token, GRACE).await?, history.status(now, GRACE));
        expect_equal(status, expected, format_args!("status of {history} at {now}"))?;
    }
    Ok(())
}

/// Calls for some of the tokens, sometimes a purge, and time that passes.
async fn random_round(
    context: &Context,
    random: &mut Random,
    histories: &mut [History],
) -> CaseResult {
    let (tokens, now) = (Tokens::of(context), after(context, Duration::ZERO));
    for history in histories.iter_mut() {
        if random.one_in(3) {
            let ahead = Duration::from_secs(random.rng.u64(..1200));
            let expires_at = now.saturating_sub(2 * MARGIN).saturating_add(ahead);
            history.call(&tokens, now, *random.pick(&ACTIONS), expires_at).await?;
        }
    }
    if random.one_in(4) {
        context.store_admin().purge_expired(random.rng.usize(1..10)).await?;
    }
    compare(context, histories, &graces()).await?;
    compare_statuses(context, histories).await?;
    let pauses = [Duration::ZERO, MILLISECOND, SECOND, 10 * SECOND, GRACE, 2 * GRACE, MARGIN];
    context.clock().advance(*random.pick(&pauses));
    Ok(())
}
