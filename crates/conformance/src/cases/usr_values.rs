//! Accounts: what fields may hold, what errors may show, and lists to the last detail.

use std::collections::BTreeSet;
use std::error::Error as _;
use std::fmt::Debug;
use std::time::Duration;

use serde_json::{Value, json};
use syntrix_storage_core::{
    Error, ErrorKind, LoginPolicy, LoginStats, Reason, Result, Secret, Timestamp, UserFilter,
    UserId, UserPatch,
};

use super::usr_races::patch;
use super::usr_steps::{
    by_id, by_name, by_prefix, by_role, create, expect_same, ids, list_all, new_user, object,
    renamed, update,
};
use crate::case::case;
use crate::{Case, CaseResult, Context, Failure, expect, expect_equal, expect_kind, expect_reason};

/// Names that some fold, width or trimming rule takes for one of [`PLAIN`], and those nobody can have.
const STRANGE: [&str; 20] = [
    "\u{212A}ate",
    "\u{FF22}\u{FF2F}\u{FF22}",
    "\u{FB01}sh",
    "\u{17F}am",
    "stra\u{DF}e",
    "\u{130}da",
    "\u{131}da",
    "jose\u{301}",
    "\u{430}da",
    " ada",
    "ada ",
    "\tada",
    "ada\n",
    "ada\u{200D}",
    "\u{A0}ada",
    "ada\0",
    "",
    "-ada",
    "system:ada",
    "a/b",
];
const PLAIN: [&str; 8] = ["kate", "bob", "fish", "sam", "strasse", "ida", "jose", "ada"];
/// Text that means something to one database or another.
const HOSTILE: [&str; 12] = [
    "' OR '1'='1",
    "x'; DROP TABLE users; --",
    "\"",
    "\\",
    "%",
    "_",
    "*",
    "$gt",
    "{\"$gt\": \"\"}",
    "$.roles",
    "a b",
    "../../etc/passwd",
];
/// A field's name, and how to make it bad.
type Bad = (&'static str, fn(&mut UserPatch));
const BAD_PATCHES: &[Bad] = &[
    ("username", |patch| patch.username = Some(String::new())),
    ("username", |patch| patch.username = Some("a".repeat(129))),
    ("roles", |patch| patch.roles = Some((0..65).map(|n| n.to_string()).collect())),
    ("roles", |patch| patch.roles = Some(["\0".into()].into())),
    ("roles", |patch| patch.roles = Some(["".into()].into())),
    ("roles", |patch| patch.roles = Some(["r".repeat(65)].into())),
    ("dbAdmin", |patch| patch.db_admin = Some((0..257).map(|n| n.to_string()).collect())),
    ("dbAdmin", |patch| patch.db_admin = Some(["a b".into()].into())),
    ("profile", |patch| patch.profile = Some(object(sized(16 * 1024 + 1)))),
    ("profile", |patch| patch.profile = Some(object(nested(17)))),
    ("profile", |patch| patch.profile = Some(object(keyed(257)))),
    ("profile", |patch| patch.profile = Some(object(json!({"k".repeat(129): 1})))),
    ("disabledReason", |patch| patch.disabled_reason = Some("the account is enabled".into())),
    ("disabledReason", |patch| {
        (patch.disabled, patch.disabled_reason) = (Some(true), Some("x".repeat(257)));
    }),
    ("disabledReason", |patch| {
        (patch.disabled, patch.disabled_reason) = (Some(true), Some("x\0".into()));
    }),
];

pub(super) static CASES: &[Case] = &[
    case!(
        "USR-56",
        Usr,
        "A change with a bad field is refused by the field's name, and nothing of it is stored.",
        "Rules that hold for creates only, and half of a change that is applied.",
        [],
        async |context| {
            let (users, ada) = (context.users(), create(&context, "ada").await?);
            for (field, spoil) in BAD_PATCHES {
                let mut change = patch(|patch| patch.db_admin = Some(["main".into()].into()));
                spoil(&mut change);
                let refused = users.update_user(&ada.id, change, Default::default()).await;
                expect_field(refused, field)?;
            }
            for (field, hash, algorithm) in [
                ("passwordHash", String::new(), "argon2id"),
                ("passwordHash", "x".repeat(1025), "argon2id"),
                ("passwordHash", "x\0".into(), "argon2id"),
                ("passwordAlgorithm", "x".into(), ""),
                ("passwordAlgorithm", "x".into(), "Argon2"),
                ("passwordAlgorithm", "x".into(), &"a".repeat(33)),
            ] {
                let hash = Secret::new(hash);
                let set = users.set_password(&ada.id, hash, algorithm, true, Default::default());
                expect_field(set.await, field)?;
            }
            expect_same(&by_id(&context, &ada.id).await?, &ada, "the account")
        }
    ),
    case!(
        "USR-57",
        Usr,
        "A profile with a value that documents cannot have is refused, and the error names it.",
        "Values that one database takes and another one cannot store.",
        [],
        async |context| {
            let (users, ada) = (context.users(), create(&context, "ada").await?);
            for (value, reason) in [
                (json!({"n": u64::MAX}), Reason::NumberOutOfRange),
                (json!({"a": [{"s": "\0"}]}), Reason::StringNul),
                (json!({"k\0": 1}), Reason::KeyNul),
            ] {
                let mut user = new_user("bob");
                user.profile = object(value.clone());
                let refused = users.create_user(user, Default::default()).await;
                let error = expect_reason(refused, reason, "create")?;
                expect_equal(error.fact("field"), Some("profile"), "the fact `field`")?;
                let change = patch(|patch| patch.profile = Some(object(value)));
                expect_field(
                    users.update_user(&ada.id, change, Default::default()).await,
                    "profile",
                )?;
            }
            let names = list_all(&context, &UserFilter::default(), 50).await?.concat();
            expect_equal(names, ["ada"], "all accounts")?;
            expect_same(&by_id(&context, &ada.id).await?, &ada, "the account")
        }
    ),
    case!(
        "USR-58",
        Usr,
        "Fields at their limits are stored as they are.",
        "Columns that are shorter than the rule.",
        [],
        async |context| {
            let entries = |count: u32| -> BTreeSet<String> {
                (0..count).map(|number| format!("{number:_>64}")).collect()
            };
            let mut user = new_user(&"n".repeat(128));
            user.id = Some(UserId::parse(&"i".repeat(64))?);
            user.password_hash = Secret::new("h".repeat(1024));
            user.password_algorithm = "a".repeat(32);
            (user.roles, user.db_admin) = (entries(64), entries(256));
            user.profile = object(sized(16 * 1024));
            let created = context.users().create_user(user.clone(), Default::default()).await?;
            let mut expected = created.clone();
            (expected.username, expected.roles) = (user.username, user.roles);
            (expected.db_admin, expected.profile) = (user.db_admin, user.profile);
            expected.password_hash = Some(user.password_hash);
            expected.password_algorithm = Some(user.password_algorithm);
            expect_same(&created, &expected, "what create returned")?;
            expect_same(&by_name(&context, &created.username).await?, &created, "by name")?;
            for profile in [nested(16), keyed(256), json!({"k".repeat(128): 1}), json!({"": 1})] {
                let change = patch(|patch| {
                    (patch.disabled, patch.disabled_reason) = (Some(true), Some("x".repeat(256)));
                    patch.profile = Some(object(profile.clone()));
                });
                let updated = update(&context, &created.id, change).await?;
                expect_equal(Value::Object(updated.profile.clone()), profile, "the profile")?;
                expect_same(&by_id(&context, &created.id).await?, &updated, "what is stored")?;
            }
            Ok(())
        }
    ),
    case!(
        "USR-59",
        Usr,
        "No error shows a name, a hash, a role or a profile.",
        "Accounts of other people in logs.",
        [],
        async |context| { errors_hide_accounts(&context).await }
    ),
    case!(
        "USR-60",
        Usr,
        "Text that means something to a database is stored as it is or refused.",
        "Values that become part of a statement, a pattern or a path.",
        [],
        async |context| {
            let ada = create(&context, "ada").await?;
            for text in HOSTILE {
                hostile(&context, &ada.id, text).await?;
            }
            let names = list_all(&context, &UserFilter::default(), 50).await?.concat();
            expect_equal(names, ["ada"], "all accounts")
        }
    ),
    case!(
        "USR-61",
        Usr,
        "Login times before 1970 or after the year 9999 are refused, those at the ends are kept.",
        "Times that one backend stores and another one cuts.",
        [],
        async |context| {
            let (users, ada) = (context.users(), create(&context, "ada").await?);
            let fields: [fn(&mut LoginStats) -> &mut Option<Timestamp>; 3] = [
                |stats| &mut stats.last_login_at,
                |stats| &mut stats.last_failed_at,
                |stats| &mut stats.lockout_until,
            ];
            for field in fields {
                for time in [-1, i64::MIN, Timestamp::LATEST.as_milliseconds() + 1, i64::MAX] {
                    let mut bad = LoginStats::default();
                    *field(&mut bad) = Some(Timestamp::from_milliseconds(time));
                    let set = users.update_user_login_stats(&ada.id, bad, Default::default());
                    let error = expect_reason(set.await, Reason::UserField, format!("{time}"))?;
                    expect_equal(error.fact("field"), Some("login"), "the fact `field`")?;
                }
            }
            expect_same(&by_id(&context, &ada.id).await?, &ada, "the account")?;
            for time in [Timestamp::default(), Timestamp::LATEST] {
                let mut stats = LoginStats::default();
                fields.iter().for_each(|field| *field(&mut stats) = Some(time));
                users.update_user_login_stats(&ada.id, stats.clone(), Default::default()).await?;
                expect_equal(by_id(&context, &ada.id).await?.login, stats, format!("{time}"))?;
            }
            Ok(())
        }
    ),
    case!(
        "USR-35",
        Usr,
        "Each field of a policy has its range, checked before anything is read.",
        "A mistake in a setting that turns the protection off.",
        [],
        async |context| {
            let (users, ada) = (context.users(), create(&context, "ada").await?);
            let nobody = UserId::parse("nobody")?;
            for (field, bad) in bad_policies() {
                for id in [&ada.id, &nobody] {
                    let begun = users.begin_login_attempt(id, bad, Default::default()).await;
                    let error = expect_reason(begun, Reason::Option, field)?;
                    expect_equal(error.fact("field"), Some(field), "the fact `field`")?;
                    let failed = users.record_login_failure(id, bad, Default::default()).await;
                    expect_reason(failed, Reason::Option, field)?;
                }
            }
            expect_same(&by_id(&context, &ada.id).await?, &ada, "the account")
        }
    ),
    case!(
        "USR-62",
        Usr,
        "A strange name is refused by a rename, too, and looked up like any unknown one.",
        "Renames around the rule of names, and answers that tell strange names from unknown ones.",
        [],
        async |context| {
            for name in PLAIN {
                create(&context, name).await?;
            }
            let (users, ada) = (context.users(), by_name(&context, "ada").await?);
            let unknown = users.get_user_by_username("unknown", Default::default()).await;
            let unknown = expect_kind(unknown, ErrorKind::NotFound, "an unknown name")?;
            for name in STRANGE {
                let refused = users.update_user(&ada.id, renamed(name), Default::default()).await;
                expect_reason(refused, Reason::Username, format!("rename to {name:?}"))?;
                let found = users.get_user_by_username(name, Default::default()).await;
                let error = expect_kind(found, ErrorKind::NotFound, format!("{name:?}"))?;
                expect_equal(format!("{error:?}"), format!("{unknown:?}"), "the two errors")?;
            }
            expect_same(&by_id(&context, &ada.id).await?, &ada, "the account")
        }
    ),
];

async fn errors_hide_accounts(context: &Context) -> CaseResult {
    let users = context.users();
    let mut user = new_user("quagga");
    user.password_hash = Secret::new("quagga");
    user.roles = ["quagga".into()].into();
    user.profile = object(json!({"quagga": "quagga"}));
    users.create_user(user.clone(), Default::default()).await?;
    let other = create(context, "other").await?.id;
    let mut bad = user.clone();
    bad.roles = ["Quagga quagga".into()].into();
    let update = |patch| users.update_user(&other, patch, Default::default());
    let roles = patch(|patch| patch.roles = Some(["quagga quagga".into()].into()));
    let profile = patch(|patch| patch.profile = Some(object(json!({"quagga": "\0"}))));
    let hash = Secret::new("quagga".repeat(200));
    let errors = [
        users.create_user(user, Default::default()).await.map(drop),
        users.create_user(bad, Default::default()).await.map(drop),
        update(renamed("quagga")).await.map(drop),
        update(renamed("quagga quagga")).await.map(drop),
        update(roles).await.map(drop),
        update(profile).await.map(drop),
        users.set_password(&other, hash, "x", true, Default::default()).await.map(drop),
        users
            .list_users(by_prefix("quagga "), Default::default(), Default::default())
            .await
            .map(drop),
        users.get_user_by_username("quagga2", Default::default()).await.map(drop),
    ];
    for (number, result) in errors.into_iter().enumerate() {
        match result {
            Ok(()) => return Err(Failure::new(format_args!("call {number} succeeded"))),
            Err(error) => {
                expect(!shown(&error).contains("quagga"), format!("call {number} tells"))?
            }
        }
    }
    expect(!format!("{users:?}").contains("quagga"), "debug text of the store tells")
}

/// All that can be printed of an error and what it stems from.
fn shown(error: &Error) -> String {
    let mut text = format!("{error} {error:?} {error:#?}");
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(" {cause} {cause:?}"));
        source = cause.source();
    }
    text.to_ascii_lowercase()
}

async fn hostile(context: &Context, id: &UserId, text: &str) -> CaseResult {
    let users = context.users();
    let created = users.create_user(new_user(text), Default::default()).await;
    expect_reason(created, Reason::Username, text)?;
    let found = users.get_user_by_username(text, Default::default()).await;
    expect_kind(found, ErrorKind::NotFound, text)?;
    let found = ids(context, &by_role(text), 50).await?.concat();
    expect_equal(found, [""; 0], format!("the role {text}"))?;
    let change = patch(|patch| {
        patch.profile = Some(object(json!({text: {text: [text]}})));
        (patch.disabled, patch.disabled_reason) = (Some(true), Some(text.into()));
    });
    update(context, id, change).await?;
    let hash = Secret::new(text);
    let stored = users.set_password(id, hash, "argon2id", false, Default::default()).await?;
    expect_equal(stored.disabled_reason.as_deref(), Some(text), "the reason")?;
    let profile = Value::Object(stored.profile.clone());
    expect_equal(profile, json!({text: {text: [text]}}), "the profile")?;
    let kept = stored.password_hash.as_ref().map(Secret::expose);
    expect_equal(kept, Some(text), "the hash")?;
    expect_same(&by_id(context, id).await?, &stored, "what is stored")
}

fn bad_policies() -> Vec<(&'static str, LoginPolicy)> {
    let bad = |change: fn(&mut LoginPolicy)| {
        let mut policy = LoginPolicy::default();
        change(&mut policy);
        policy
    };
    vec![
        ("policy.threshold", bad(|policy| policy.threshold = 0)),
        ("policy.threshold", bad(|policy| policy.threshold = 101)),
        ("policy.window", bad(|policy| policy.window = Duration::ZERO)),
        ("policy.lockBase", bad(|policy| policy.lock_base = Duration::ZERO)),
        // Stores count in milliseconds, so this is nothing, too: the lock would be over at once.
        ("policy.window", bad(|policy| policy.window = Duration::from_micros(999))),
        ("policy.lockBase", bad(|policy| policy.lock_base = Duration::from_micros(999))),
        ("policy.lockMax", bad(|policy| policy.lock_max = policy.lock_base / 2)),
        ("policy.lockFactor", bad(|policy| policy.lock_factor = 0.99)),
        ("policy.lockFactor", bad(|policy| policy.lock_factor = f64::NAN)),
        ("policy.lockFactor", bad(|policy| policy.lock_factor = f64::INFINITY)),
    ]
}

fn expect_field<T: Debug>(result: Result<T>, field: &str) -> CaseResult {
    let error = expect_kind(result, ErrorKind::InvalidArgument, format!("a bad {field}"))?;
    expect_equal(error.fact("field"), Some(field), "the fact `field`")
}

/// A profile of so many bytes of JSON.
fn sized(bytes: usize) -> Value {
    let frame = json!({"a": ""}).to_string().len();
    json!({"a": "x".repeat(bytes - frame)})
}

fn nested(levels: usize) -> Value {
    (1..levels).fold(json!({}), |inner, _| json!({"a": inner}))
}

fn keyed(keys: usize) -> Value {
    (0..keys).map(|key| (key.to_string(), json!(key))).collect()
}
