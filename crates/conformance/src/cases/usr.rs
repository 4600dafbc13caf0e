//! Accounts: create, find, change.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;
use syntrix_storage_core::{
    ErrorKind, LoginStats, Reason, Secret, Timestamp, UserId, UserOptions, UserPatch, Version,
};

use super::steps::in_tasks;
use super::usr_steps::{
    HASH, by_id, by_name, create, expect_same, list_all, new_user, renamed, update,
};
use crate::case::case;
use crate::{Case, CaseResult, Context, expect, expect_equal, expect_kind};

pub(super) static CASES: &[Case] = &[
    case!(
        "USR-01",
        Usr,
        "A new account is found by name and by id, as it was returned.",
        "Fields that are lost on the way, and caller's times.",
        [],
        async |context| {
            let mut user = new_user("Ada");
            user.roles = ["admin".into(), "user".into()].into();
            user.db_admin = ["main".into()].into();
            user.profile.insert("mail".into(), json!("ada@example.org"));
            let created = context.users().create_user(user, Default::default()).await?;
            expect_equal(created.version, Version::FIRST, "the version")?;
            expect_equal(created.created_at, created.updated_at, "the times")?;
            expect_equal(created.roles.len(), 2, "the roles")?;
            expect_same(&by_id(&context, &created.id).await?, &created, "by id")?;
            expect_same(&by_name(&context, "Ada").await?, &created, "by name")
        }
    ),
    case!(
        "USR-02",
        Usr,
        "A name is taken once; the first account stays as it is.",
        "Uniqueness that is only checked, or an insert that replaces.",
        [],
        async |context| {
            let first = create(&context, "ada").await?;
            let again = context.users().create_user(new_user("ada"), Default::default()).await;
            let error = expect_kind(again, ErrorKind::AlreadyExists, "the second")?;
            expect_equal(error.fact("field"), Some("username"), "the fact `field`")?;
            expect_same(&by_name(&context, "ada").await?, &first, "the first")
        }
    ),
    case!(
        "USR-03",
        Usr,
        "An id is taken once, also with another name.",
        "Accounts that overwrite each other.",
        [],
        async |context| {
            let first = create(&context, "ada").await?;
            let mut second = new_user("bob");
            second.id = Some(first.id.clone());
            let again = context.users().create_user(second, Default::default()).await;
            let error = expect_kind(again, ErrorKind::AlreadyExists, "the second")?;
            expect_equal(error.fact("field"), Some("id"), "the fact `field`")?;
            expect_same(&by_id(&context, &first.id).await?, &first, "the first")?;
            expect_no_name(&context, "bob").await
        }
    ),
    case!(
        "USR-04",
        Usr,
        "Names that differ in case are one name, for create, find and rename.",
        "Two accounts that a person cannot tell apart.",
        [],
        async |context| {
            let bob = create(&context, "Bob").await?;
            for name in ["bob", "BOB", "bOB"] {
                let found = by_name(&context, name).await?;
                expect_equal((found.id, found.username), (bob.id.clone(), "Bob".into()), name)?;
                let again = context.users().create_user(new_user(name), Default::default()).await;
                expect_kind(again, ErrorKind::AlreadyExists, name)?;
            }
            let ada = create(&context, "ada").await?;
            let taken =
                context.users().update_user(&ada.id, renamed("BOB"), Default::default()).await;
            expect_kind(taken, ErrorKind::AlreadyExists, "rename")?;
            let own = update(&context, &bob.id, renamed("bob")).await?;
            expect_equal(&*own.username, "bob", "one's own name in another case")
        }
    ),
    case!(
        "USR-05",
        Usr,
        "Letters that look or fold like others are refused, the same everywhere.",
        "Folding by the database's locale, and names that pass for another one.",
        [],
        async |context| {
            create(&context, "kate").await?;
            for name in ["\u{212a}ate", "straße", "İ", "ı", "ＢＯＢ", "ﬁsh", "ſam", "\u{1d401}ob"]
            {
                let refused = context.users().create_user(new_user(name), Default::default()).await;
                let error = expect_kind(refused, ErrorKind::InvalidArgument, name)?;
                expect_equal(error.reason(), Some(Reason::Username), name)?;
                expect_no_name(&context, name).await?;
            }
            Ok(())
        }
    ),
    case!(
        "USR-06",
        Usr,
        "Names with spaces, control characters or without a letter or digit first are refused.",
        "Names that one backend trims and another keeps.",
        [],
        async |context| {
            let long = "x".repeat(129);
            for name in
                [" ada", "ada ", "a da", "", &long, "a\0", "a\nb", "a\u{200d}b", "system:x", ".ada"]
            {
                let refused = context.users().create_user(new_user(name), Default::default()).await;
                let error = expect_kind(refused, ErrorKind::InvalidArgument, "create")?;
                expect_equal(error.reason(), Some(Reason::Username), "the reason")?;
                let told = error.to_string();
                expect(name.trim().len() < 3 || !told.contains(name), "the error has the name")?;
                expect_no_name(&context, name).await?;
            }
            create(&context, &"x".repeat(128)).await?;
            expect_equal(
                list_all(&context, &Default::default(), 50).await?.concat().len(),
                1,
                "all",
            )
        }
    ),
    case!(
        "USR-07",
        Usr,
        "An unknown name or id is not_found.",
        "Empty accounts, and errors that tell which names exist.",
        [],
        async |context| {
            expect_no_name(&context, "nobody").await?;
            let id = UserId::parse("nobody")?;
            let found = context.users().get_user_by_id(&id, Default::default()).await;
            expect_kind(found, ErrorKind::NotFound, "by id")?;
            Ok(())
        }
    ),
    case!(
        "USR-08",
        Usr,
        "Fields beyond their limits are refused by name, and nothing is stored.",
        "Cut values, half accounts, and errors that repeat a secret.",
        [],
        async |context| { within_limits(&context).await }
    ),
    case!(
        "USR-09",
        Usr,
        "Of 64 creates of one name at the same time exactly one succeeds.",
        "A check for the name that is not part of the write.",
        [],
        async |context| {
            let outcomes = in_tasks(64, |number| {
                let users = context.users();
                let name = if number % 2 == 0 { "ada" } else { "ADA" };
                async move { Ok(users.create_user(new_user(name), Default::default()).await) }
            })
            .await?;
            let mut created = 0;
            for outcome in outcomes {
                match outcome {
                    Ok(_) => created += 1,
                    Err(error) => {
                        expect_equal(error.kind(), ErrorKind::AlreadyExists, "a loser")?;
                    }
                }
            }
            expect_equal(created, 1, "the number of winners")?;
            expect_equal(
                list_all(&context, &Default::default(), 50).await?.concat().len(),
                1,
                "all",
            )
        }
    ),
    case!(
        "USR-10",
        Usr,
        "An update changes what it names, counts the version up, and leaves the rest.",
        "Replacing a whole account for the sake of one field.",
        [InjectedClock],
        async |context| {
            let before = create(&context, "ada").await?;
            context.clock().advance(Duration::from_secs(5));
            let mut patch = UserPatch::default();
            patch.roles = Some(["admin".into()].into());
            let after = update(&context, &before.id, patch).await?;
            let mut expected = before.clone();
            expected.roles = ["admin".into()].into();
            expected.version = before.version.next();
            expected.updated_at = before.updated_at.saturating_add(Duration::from_secs(5));
            expect_same(&after, &expected, "what the update returned")?;
            expect_same(&by_id(&context, &before.id).await?, &expected, "what is stored")
        }
    ),
    case!(
        "USR-11",
        Usr,
        "A change of an account that is not there is not_found and makes none.",
        "Updates that insert, and silent success.",
        [],
        async |context| {
            let (users, id) = (context.users(), UserId::parse("nobody")?);
            let none = Default::default;
            let updated = users.update_user(&id, renamed("ada"), none()).await;
            expect_kind(updated, ErrorKind::NotFound, "update_user")?;
            let set = users.set_password(&id, Secret::new(HASH), "argon2id", true, none()).await;
            expect_kind(set, ErrorKind::NotFound, "set_password")?;
            let set = users.update_user_login_stats(&id, LoginStats::default(), none()).await;
            expect_kind(set, ErrorKind::NotFound, "update_user_login_stats")?;
            let begun = users.begin_login_attempt(&id, Default::default(), none()).await;
            expect_kind(begun, ErrorKind::NotFound, "begin_login_attempt")?;
            let failed = users.record_login_failure(&id, Default::default(), none()).await;
            expect_kind(failed, ErrorKind::NotFound, "record_login_failure")?;
            let done = users.record_login_success(&id, None, none()).await;
            expect_kind(done, ErrorKind::NotFound, "record_login_success")?;
            expect_equal(
                list_all(&context, &Default::default(), 50).await?.concat().len(),
                0,
                "all",
            )
        }
    ),
    case!(
        "USR-12",
        Usr,
        "Renaming to a taken name is refused and leaves both accounts as they are.",
        "A name that is freed before the new one is taken.",
        [],
        async |context| {
            let (ada, bob) = (create(&context, "ada").await?, create(&context, "bob").await?);
            let mut patch = renamed("bob");
            patch.roles = Some(["admin".into()].into());
            let taken = context.users().update_user(&ada.id, patch, Default::default()).await;
            expect_kind(taken, ErrorKind::AlreadyExists, "the rename")?;
            expect_same(&by_name(&context, "ada").await?, &ada, "the first")?;
            expect_same(&by_name(&context, "bob").await?, &bob, "the second")
        }
    ),
    case!(
        "USR-13",
        Usr,
        "After a rename the new name finds the account, the old one is free.",
        "Old names that stay taken or still find somebody.",
        [],
        async |context| {
            let ada = create(&context, "ada").await?;
            update(&context, &ada.id, renamed("Lovelace")).await?;
            expect_no_name(&context, "ada").await?;
            expect_equal(&by_name(&context, "lovelace").await?.id, &ada.id, "the id")?;
            let other = create(&context, "ada").await?;
            expect(other.id != ada.id, "the new account has the old id")
        }
    ),
    case!(
        "USR-14",
        Usr,
        "Lookups beside renames find the right account or none, never another one.",
        "Two steps of a rename that can be seen.",
        [],
        async |context| { rename_beside_lookups(&context).await }
    ),
    case!(
        "USR-15",
        Usr,
        "A change that expects another version is refused and tells the version that is there.",
        "Lost updates.",
        [],
        async |context| {
            let ada = create(&context, "ada").await?;
            let expected = || UserOptions::default().with_expected_version(ada.version);
            let users = context.users();
            let second = users.update_user(&ada.id, renamed("ada2"), expected()).await?;
            let stale = users.update_user(&ada.id, renamed("ada3"), expected()).await;
            let error = expect_kind(stale, ErrorKind::PreconditionFailed, "update_user")?;
            expect_equal(error.fact("version"), Some("2"), "the fact `version`")?;
            let hash = Secret::new("$other$");
            let stale = users.set_password(&ada.id, hash, "argon2id", true, expected()).await;
            expect_kind(stale, ErrorKind::PreconditionFailed, "set_password")?;
            expect_same(&by_id(&context, &ada.id).await?, &second, "what is stored")
        }
    ),
    case!(
        "USR-26",
        Usr,
        "Empty roles and profiles stay empty.",
        "Null where an empty list was stored.",
        [],
        async |context| {
            let ada = create(&context, "ada").await?;
            let mut patch = UserPatch::default();
            patch.roles = Some(["x".into()].into());
            update(&context, &ada.id, patch).await?;
            let mut patch = UserPatch::default();
            patch.roles = Some(BTreeSet::new());
            update(&context, &ada.id, patch).await?;
            let stored = by_id(&context, &ada.id).await?;
            expect(stored.roles.is_empty() && stored.db_admin.is_empty(), "roles")?;
            expect(stored.profile.is_empty(), "the profile")
        }
    ),
    case!(
        "USR-27",
        Usr,
        "A profile comes back as it was stored, numbers and characters included.",
        "Numbers that become doubles, and reordered or escaped text.",
        [],
        async |context| {
            let profile = json!({
                "min": i64::MIN, "max": i64::MAX, "tenth": 0.1, "empty": {}, "list": [null, true, []],
                "text": "é e\u{301} \u{1f600} \"\\/", "a.b": {"$c": "d"},
            });
            let mut user = new_user("ada");
            user.profile = profile.as_object().cloned().unwrap_or_default();
            let created = context.users().create_user(user, Default::default()).await?;
            let stored = by_id(&context, &created.id).await?;
            expect_equal(serde_json::Value::Object(stored.profile), profile, "the profile")
        }
    ),
    case!(
        "USR-30",
        Usr,
        "A disabled account is found like any other and says since when and why.",
        "Policy in the store.",
        [],
        async |context| {
            let ada = create(&context, "ada").await?;
            let mut patch = UserPatch::default();
            (patch.disabled, patch.disabled_reason) = (Some(true), Some("left".into()));
            let disabled = update(&context, &ada.id, patch).await?;
            expect_equal(disabled.disabled_reason.as_deref(), Some("left"), "the reason")?;
            expect(disabled.disabled && disabled.disabled_at.is_some(), "not disabled")?;
            expect_equal(disabled.token_epoch, ada.token_epoch + 1, "the epoch, same write")?;
            expect_same(&by_name(&context, "ada").await?, &disabled, "by name")?;
            let mut patch = UserPatch::default();
            patch.disabled = Some(false);
            let enabled = update(&context, &ada.id, patch).await?;
            expect(!enabled.disabled && enabled.disabled_at.is_none(), "still disabled")?;
            expect_equal(enabled.disabled_reason, None, "the reason")
        }
    ),
];

async fn expect_no_name(context: &Context, name: &str) -> CaseResult {
    let found = context.users().get_user_by_username(name, Default::default()).await;
    expect_kind(found, ErrorKind::NotFound, format_args!("the name {name:?}"))?;
    Ok(())
}

/// Each field once beyond its limit; the error names the field and never the value.
async fn within_limits(context: &Context) -> CaseResult {
    let users = context.users();
    for text in ["", "a b", "é", &"x".repeat(65)] {
        expect_kind(UserId::parse(text), ErrorKind::InvalidArgument, "an id")?;
    }
    let deep = (0..17).fold(json!(1), |inner, _| json!({ "d": inner }));
    type Spoil = Box<dyn Fn(&mut syntrix_storage_core::NewUser) + Send>;
    let profile = |value: serde_json::Value| -> Spoil {
        Box::new(move |user| user.profile = value.as_object().cloned().unwrap_or_default())
    };
    let wrong: Vec<(&str, Spoil)> = vec![
        ("passwordHash", Box::new(|user| user.password_hash = Secret::new(""))),
        ("passwordHash", Box::new(|user| user.password_hash = Secret::new("x".repeat(1025)))),
        ("passwordAlgorithm", Box::new(|user| user.password_algorithm = "Argon 2".into())),
        ("roles", Box::new(|user| user.roles = (0..65).map(|n| format!("r{n}")).collect())),
        ("roles", Box::new(|user| user.roles = ["Admin".into()].into())),
        ("dbAdmin", Box::new(|user| user.db_admin = (0..257).map(|n| format!("d{n}")).collect())),
        ("profile", profile(json!({"x": "y".repeat(16 * 1024)}))),
        ("profile", profile(deep)),
        ("profile", profile((0..257).map(|n| (format!("k{n}"), json!(n))).collect())),
    ];
    for (field, spoil) in wrong {
        let mut user = new_user("ada");
        spoil(&mut user);
        let refused = users.create_user(user, Default::default()).await;
        let error = expect_kind(refused, ErrorKind::InvalidArgument, field)?;
        expect_equal(error.fact("field"), Some(field), "the fact `field`")?;
    }
    let stats = |milliseconds| {
        let mut stats = LoginStats::default();
        stats.last_login_at = Some(Timestamp::from_milliseconds(milliseconds));
        stats
    };
    let ada = create(context, "ada").await?;
    for milliseconds in [-1, 253_402_300_800_000] {
        let refused =
            users.update_user_login_stats(&ada.id, stats(milliseconds), Default::default());
        expect_kind(refused.await, ErrorKind::InvalidArgument, "a time")?;
    }
    expect_same(&by_id(context, &ada.id).await?, &ada, "the account")
}

async fn rename_beside_lookups(context: &Context) -> CaseResult {
    let (ada, bob) = (create(context, "ada").await?, create(context, "bob").await?);
    let ids = [ada.id, bob.id];
    in_tasks(6, |task| {
        let (users, ids) = (context.users(), ids.clone());
        async move {
            for step in 0..40 {
                let whose = task % 2;
                let (plain, other) = [("ada", "ada.l"), ("bob", "bob.b")][whose];
                if task < 2 {
                    let name = if step % 2 == 0 { other } else { plain };
                    users.update_user(&ids[whose], renamed(name), Default::default()).await?;
                    continue;
                }
                match users.get_user_by_username(plain, Default::default()).await {
                    Ok(user) => expect_equal(user.id, ids[whose].clone(), plain)?,
                    Err(error) => expect_equal(error.kind(), ErrorKind::NotFound, plain)?,
                }
            }
            Ok(())
        }
    })
    .await?;
    Ok(())
}
