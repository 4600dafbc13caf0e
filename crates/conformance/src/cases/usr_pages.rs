//! Accounts: pages, cursors and conditions of lists.

use serde_json::json;
use syntrix_storage_core::{Cursor, LoginPolicy, Reason, UserFilter, UserId};

use super::usr_races::{disabled, patch};
use super::usr_steps::{
    by_id, by_prefix, by_role, create, facts, ids, ids_of, new_user, object, page, request, update,
};
use crate::case::case;
use crate::{Case, CaseResult, Context, Failure, expect_equal, expect_reason};

pub(super) static CASES: &[Case] = &[
    case!(
        "USR-63",
        Usr,
        "Ids are listed byte by byte, and pages end exactly where the accounts do.",
        "Orders by the database's language, and an empty page at the end.",
        [],
        async |context| {
            expect_equal(ids(&context, &UserFilter::default(), 1).await?, [[""; 0]], "no account")?;
            let mut expected: Vec<String> = ["-", "_", "0", "00", "A", "a", "Z", "z", "aA", "Aa"]
                .into_iter()
                .map(str::to_owned)
                .chain((0..15).map(|number| format!("u{}", number * 7919 % 100)))
                .collect();
            for (number, id) in expected.iter().enumerate() {
                create_as(&context, id, &format!("n{number}")).await?;
            }
            expected.sort_unstable();
            for limit in [1, 5, 7, 24, 25, 26, 200] {
                let pages = ids(&context, &UserFilter::default(), limit).await?;
                expect_equal(pages.len(), 25_usize.div_ceil(limit as usize), "pages")?;
                expect_equal(pages.concat(), expected.clone(), format!("pages of {limit}"))?;
            }
            Ok(())
        }
    ),
    case!(
        "USR-64",
        Usr,
        "A page that names no limit has 50 accounts, and no role or name is found in another one.",
        "Roles and prefixes that are patterns, and a list of everybody in one answer.",
        [],
        async |context| {
            for number in 0..51 {
                create_as(&context, &format!("{number:02}"), &format!("u{number}")).await?;
            }
            let page = page(&context, &UserFilter::default(), None, None).await?;
            expect_equal((page.users.len(), page.next.is_some()), (50, true), "the first page")?;
            for (id, role) in [("01", "admin"), ("02", "admin2"), ("03", "super:admin")] {
                let change = patch(|patch| patch.roles = Some([role.into(), "x".into()].into()));
                update(&context, &UserId::parse(id)?, change).await?;
            }
            for (role, expected) in [("admin", vec!["01"]), ("x", vec!["01", "02", "03"])] {
                let found = ids(&context, &by_role(role), 2).await?.concat();
                expect_equal(found, expected, format!("the role {role}"))?;
            }
            for role in ["", "Admin", "dmin", "admin%", "\"admin\"", "x\",\"admin", "a\0"] {
                let found = ids(&context, &by_role(role), 50).await?.concat();
                expect_equal(found, [""; 0], format!("the role {role:?}"))?;
            }
            for prefix in ["%", "a*", "a b", "\u{E4}", "a\0", &"a".repeat(129)] {
                let users = context.users();
                let listed =
                    users.list_users(by_prefix(prefix), Default::default(), Default::default());
                let error = expect_reason(listed.await, Reason::Username, format!("{prefix:?}"))?;
                expect_equal(error.fact("field"), Some("namePrefix"), "the fact `field`")?;
            }
            Ok(())
        }
    ),
    case!(
        "USR-65",
        Usr,
        "A cursor goes on behind its account in any store and after a restart.",
        "Cursors that contain a position of one backend and end with it.",
        [],
        async |context| {
            let other = context.other_store().await?.users()?;
            for id in ["a", "b", "c"] {
                create_as(&context, id, id).await?;
                let mut user = new_user(id);
                user.id = Some(UserId::parse(&id.repeat(2))?);
                other.create_user(user, Default::default()).await?;
            }
            let all = UserFilter::default();
            let cursor = page(&context, &all, Some(2), None).await?.next;
            let there = |limit, after| {
                other.list_users(all.clone(), request(limit, after), Default::default())
            };
            expect_equal(ids_of(&there(None, cursor.clone()).await?), ["bb", "cc"], "behind b")?;
            let foreign = there(Some(2), None).await?.next;
            let here = page(&context, &all, None, foreign).await?;
            expect_equal(ids_of(&here), ["c"], "behind bb of the other store")?;
            if context.capabilities().durable {
                context.reopen().await?;
                let rest = page(&context, &all, None, cursor).await?;
                expect_equal(ids_of(&rest), ["c"], "behind b after a restart")?;
            }
            Ok(())
        }
    ),
    case!(
        "USR-40",
        Usr,
        "A cursor that is changed or cut anywhere, or of any other filter, is refused.",
        "Pages of one list that go on in another one.",
        [],
        async |context| { damaged_cursors(&context).await }
    ),
    case!(
        "USR-66",
        Usr,
        "Accounts that leave a list between two pages make it miss nobody else.",
        "Pages by offset, which shift when accounts go.",
        [],
        async |context| {
            let mut there = Vec::new();
            for number in 0..12 {
                let id = format!("u{number:02}");
                there.push(create_as(&context, &id, &id).await?);
            }
            let mut enabled = UserFilter::default();
            enabled.disabled = Some(false);
            let (mut seen, mut cursor) = (Vec::new(), None);
            for pair in there.chunks(2) {
                let page = page(&context, &enabled, Some(2), cursor).await?;
                seen.extend(ids_of(&page));
                cursor = page.next;
                // The very account that the cursor names, too.
                for id in pair {
                    update(&context, id, disabled(true)).await?;
                }
            }
            let there: Vec<_> = there.iter().map(UserId::to_string).collect();
            expect_equal(seen, there, "accounts listed")?;
            expect_equal(cursor, None, "the cursor of the last page")
        }
    ),
    case!(
        "USR-67",
        Usr,
        "A list brings every field but the hash.",
        "Lists that need a second look-up, and hashes of everybody in one answer.",
        [],
        async |context| {
            let ada = create(&context, "Ada").await?;
            let change = patch(|patch| {
                patch.roles = Some(["a".into(), "b".into()].into());
                patch.db_admin = Some(["main".into()].into());
                patch.profile = Some(object(json!({"a": [1]})));
                (patch.disabled, patch.disabled_reason) = (Some(true), Some("left".into()));
            });
            update(&context, &ada.id, change).await?;
            let (users, policy) = (context.users(), LoginPolicy::default());
            users.record_login_failure(&ada.id, policy, Default::default()).await?;
            let mut expected = by_id(&context, &ada.id).await?;
            expected.password_hash = None;
            let listed = page(&context, &UserFilter::default(), None, None).await?.users;
            expect_equal(
                listed.iter().map(facts).collect::<Vec<_>>(),
                [facts(&expected)],
                "the list",
            )
        }
    ),
    case!(
        "USR-68",
        Usr,
        "A reason to disable is refused before anything is read if the same change enables.",
        "A refusal that depends on the account, and tells whether there is one.",
        [],
        async |context| {
            let change = || {
                patch(|patch| {
                    (patch.disabled, patch.disabled_reason) = (Some(false), Some("left".into()));
                })
            };
            let (ada, nobody) = (create(&context, "ada").await?.id, UserId::parse("nobody")?);
            for id in [&nobody, &ada] {
                let refused = context.users().update_user(id, change(), Default::default()).await;
                expect_reason(refused, Reason::UserField, "enabled with a reason")?;
            }
            expect_equal(by_id(&context, &ada).await?.version.get(), 1, "the version")
        }
    ),
];

async fn damaged_cursors(context: &Context) -> CaseResult {
    for name in ["a1", "a2", "a3"] {
        create(context, name).await?;
    }
    let filter = by_prefix("a");
    let first = page(context, &filter, Some(1), None).await?;
    let cursor = first.next.ok_or_else(|| Failure::new("there is no next page"))?;
    let mut enabled = filter.clone();
    enabled.disabled = Some(false);
    let others = [by_prefix("a1"), by_role("a"), enabled, UserFilter::default()];
    let mut refused: Vec<_> = others.map(|other| (other, cursor.clone())).into();
    let damaged = damaged(cursor.as_str()).into_iter();
    refused.extend(damaged.map(|text| (filter.clone(), Cursor::from_text(text))));
    for (number, (filter, cursor)) in refused.into_iter().enumerate() {
        let (users, request) = (context.users(), request(Some(1), Some(cursor)));
        let listed = users.list_users(filter, request, Default::default()).await;
        let error = expect_reason(listed, Reason::Cursor, format!("cursor {number}"))?;
        expect_equal(error.fact("field"), Some("cursor"), "the fact `field`")?;
    }
    // The limit may change, and so may the case of the prefix: the list is the same.
    let rest = page(context, &by_prefix("A"), Some(9), Some(cursor)).await?;
    expect_equal(rest.users.len(), 2, "the rest of the list")
}

/// Texts that are no cursor of a store's making.
fn damaged(cursor: &str) -> Vec<String> {
    let changed = |place: usize| -> String {
        let other = |character: char| if character == 'A' { 'B' } else { 'A' };
        let characters = cursor.chars().enumerate();
        characters.map(|(at, text)| if at == place { other(text) } else { text }).collect()
    };
    let mut texts: Vec<_> = (0..cursor.len()).map(changed).collect();
    texts.extend((0..cursor.len()).map(|length| cursor[..length].to_owned()));
    texts.extend([format!("{cursor}A"), "A".repeat(100_000), "\u{E9}\0".into()]);
    texts
}

async fn create_as(context: &Context, id: &str, name: &str) -> CaseResult<UserId> {
    let mut user = new_user(name);
    user.id = Some(UserId::parse(id)?);
    Ok(context.users().create_user(user, Default::default()).await?.id)
}
