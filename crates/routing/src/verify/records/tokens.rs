//! Revoked tokens: whether the shadow has all of the primary's, each at least as strict.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use syntrix_storage_core::backend::{RevocationBackend, merge_revocation};
use syntrix_storage_core::{ITEMS_MAX, Result, Revocation, RevokeOutcome, Timestamp, TokenId};

use super::{CALL, Compared, FieldDifference, Judgement, RecordKey};
use crate::swept::tokens::Tokens;
use crate::verify::{Depth, Repaired, Verdict};

/// A record that ends so soon by either side's clock may be gone on one side by the time that the other is asked.
const MARGIN: Duration = Duration::from_secs(60);

#[async_trait]
impl Compared for Tokens {
    fn record_key(key: &TokenId) -> RecordKey {
        RecordKey::Token(key.clone())
    }

    fn key_of(record: &RecordKey) -> Option<&TokenId> {
        match record {
            RecordKey::Token(token) => Some(token),
            RecordKey::User(_) => None,
        }
    }

    /// Asked for one by one: not every database has them in order.
    async fn beside(
        store: &dyn RevocationBackend,
        _: Option<&TokenId>,
        keys: &[TokenId],
    ) -> Result<Vec<Option<Revocation>>> {
        fetch(store, keys).await
    }

    async fn fetch_many(
        store: &dyn RevocationBackend,
        keys: &[TokenId],
    ) -> Result<Vec<Option<Revocation>>> {
        fetch(store, keys).await
    }

    async fn horizon(
        primary: &dyn RevocationBackend,
        shadow: &dyn RevocationBackend,
    ) -> Result<Timestamp> {
        // Whatever is asked for brings the store's time along.
        let any = TokenId::parse("clock")?;
        let now = primary.get(&any, &CALL).await?.now;
        Ok(now.max(shadow.get(&any, &CALL).await?.now).saturating_add(MARGIN))
    }

    fn judge(
        primary: Option<&Revocation>,
        shadow: Option<&Revocation>,
        depth: Depth,
        horizon: Timestamp,
    ) -> Judgement {
        let kept = |record: &&Revocation| record.is_kept(horizon);
        match (primary.filter(kept), shadow.filter(kept)) {
            (None, None) if primary.is_none() && shadow.is_none() => Judgement::Equal,
            (None, None) => Judgement::Expired,
            (None, Some(_)) if primary.is_some() => Judgement::Equal,
            (None, Some(_)) => Judgement::Beyond,
            (Some(_), None) if shadow.is_none() => Judgement::Differs(Verdict::Missing),
            (Some(_), None) => Judgement::Differs(Verdict::Stale),
            (Some(primary), Some(shadow)) => compare(primary, shadow, depth, horizon),
        }
    }

    fn difference(primary: &Revocation, shadow: &Revocation) -> Option<FieldDifference> {
        let merged = merge_revocation(primary, Some(shadow), Timestamp::default()).1?;
        let (wanted, stored) = (fields(&merged), fields(shadow));
        let differing =
            wanted.into_iter().zip(stored).find(|(wanted, stored)| wanted.1 != stored.1);
        let at = differing?.0.0;
        if SECRET.contains(&at) {
            return Some(FieldDifference::of(at));
        }
        let value = |record| {
            fields(record).into_iter().find_map(|(name, value)| (name == at).then_some(value))
        };
        let (primary_value, shadow_value) = (value(primary), value(shadow));
        Some(FieldDifference { field: at.to_owned(), primary_value, shadow_value })
    }

    /// Merging is a repair: what the shadow has beyond the primary's record stays, as it never lets anybody in.
    async fn repair(
        primary: &dyn RevocationBackend,
        shadow: &dyn RevocationBackend,
        key: &TokenId,
        execute: bool,
    ) -> Result<Repaired> {
        let stored = shadow.get(key, &CALL).await?;
        let Some(record) = primary.get(key, &CALL).await?.value else { return Ok(Repaired::Equal) };
        if !execute {
            let outcome = merge_revocation(&record, stored.value.as_deref(), stored.now).0;
            return Ok(repaired(outcome));
        }
        Ok(repaired(shadow.merge(*record, &CALL).await?.value))
    }
}

/// Never told: they name tokens.
const SECRET: [&str; 2] = ["family", "successor"];

async fn fetch(store: &dyn RevocationBackend, keys: &[TokenId]) -> Result<Vec<Option<Revocation>>> {
    let mut found = Vec::with_capacity(keys.len());
    for keys in keys.chunks(ITEMS_MAX) {
        found.extend(store.get_many(keys, &CALL).await?.value);
    }
    Ok(found)
}

fn compare(primary: &Revocation, shadow: &Revocation, depth: Depth, now: Timestamp) -> Judgement {
    let Some(merged) = merge_revocation(primary, Some(shadow), now).1 else {
        return Judgement::Equal;
    };
    let strictness = |record: &Revocation| {
        (record.revoked_at, record.immediate, record.expires_at, record.keep_until)
    };
    match (strictness(&merged) == strictness(shadow), depth) {
        (false, _) => Judgement::Differs(Verdict::Stale),
        (true, Depth::Deep) => Judgement::Differs(Verdict::Different),
        (true, Depth::Quick) => Judgement::Equal,
    }
}

fn fields(record: &Revocation) -> [(&'static str, Value); 8] {
    [
        ("revokedAt", record.revoked_at.as_milliseconds().into()),
        ("immediate", record.immediate.into()),
        ("expiresAt", record.expires_at.as_milliseconds().into()),
        ("keepUntil", record.keep_until.as_milliseconds().into()),
        ("reason", json!(record.reason)),
        ("subject", json!(record.subject)),
        ("family", json!(record.family)),
        ("successor", json!(record.successor.as_ref().map(TokenId::as_str))),
    ]
}

fn repaired(outcome: RevokeOutcome) -> Repaired {
    match outcome {
        RevokeOutcome::Inserted => Repaired::Inserted,
        RevokeOutcome::Tightened => Repaired::Replaced,
        _ => Repaired::Equal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(revoked_at: i64, keep_until: i64) -> Revocation {
        let at = Timestamp::from_milliseconds;
        Revocation {
            token: TokenId::parse("t").unwrap(),
            revoked_at: at(revoked_at),
            immediate: false,
            expires_at: at(keep_until - 1),
            keep_until: at(keep_until),
            reason: None,
            subject: None,
            family: None,
            successor: None,
        }
    }

    fn judge(primary: Option<&Revocation>, shadow: Option<&Revocation>, depth: Depth) -> Judgement {
        <Tokens as Compared>::judge(primary, shadow, depth, Timestamp::from_milliseconds(100))
    }

    /// Case 45 of the catalogue: sides whose clocks differ remove a record at different moments.
    #[test]
    fn case_45_what_is_about_to_expire_is_never_a_difference() {
        let (old, live) = (record(1, 100), record(1, 101));
        for depth in [Depth::Quick, Depth::Deep] {
            assert_eq!(judge(Some(&old), None, depth), Judgement::Expired);
            assert_eq!(judge(None, Some(&old), depth), Judgement::Expired);
            assert_eq!(judge(Some(&live), None, depth), Judgement::Differs(Verdict::Missing));
            assert_eq!(judge(None, Some(&live), depth), Judgement::Beyond);
        }
    }

    #[test]
    fn a_shadow_may_be_stricter_and_never_laxer() {
        let (late, early) = (record(50, 200), record(10, 200));
        assert_eq!(judge(Some(&late), Some(&early), Depth::Deep), Judgement::Equal);
        let laxer = judge(Some(&early), Some(&late), Depth::Quick);
        assert_eq!(laxer, Judgement::Differs(Verdict::Stale));
        let field = Tokens::difference(&early, &late).unwrap();
        assert_eq!(field.field, "revokedAt");
        assert_eq!((field.primary_value, field.shadow_value), (Some(json!(10)), Some(json!(50))));
    }

    #[test]
    fn what_names_a_token_is_told_to_differ_and_no_more() {
        let mut told = record(10, 200);
        told.successor = Some(TokenId::parse("secret").unwrap());
        assert_eq!(judge(Some(&told), Some(&record(10, 200)), Depth::Quick), Judgement::Equal);
        let deep = judge(Some(&told), Some(&record(10, 200)), Depth::Deep);
        assert_eq!(deep, Judgement::Differs(Verdict::Different));
        let field = Tokens::difference(&told, &record(10, 200)).unwrap();
        assert_eq!(field, FieldDifference::of("successor"));
        let key = RecordKey::Token(told.successor.unwrap());
        assert!(!format!("{key} {key:?}").contains("secret"));
    }
}
