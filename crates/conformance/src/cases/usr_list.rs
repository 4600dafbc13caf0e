//! Accounts: lists in pages.

use std::collections::BTreeSet;

use syntrix_storage_core::{ErrorKind, Reason, UserFilter, UserId, UserPageRequest, UserPatch};

use super::steps::in_tasks;
use super::usr_steps::{create, list, list_all, new_user, update};
use crate::case::case;
use crate::{Case, CaseResult, Context, expect, expect_equal, expect_reason};

pub(super) static CASES: &[Case] = &[
    case!(
        "USR-23",
        Usr,
        "Pages of a list have every account once, by id, and no hash.",
        "Offsets, unstable orders, and hashes that leave with a list.",
        [],
        async |context| {
            for number in 0..100 {
                let mut user = new_user(&format!("user{number:03}"));
                user.id = Some(UserId::parse(&format!("id{:03}", number * 37 % 100))?);
                context.users().create_user(user, Default::default()).await?;
            }
            let pages = list_all(&context, &UserFilter::default(), 7).await?;
            expect_equal(pages.len(), 15, "the number of pages")?;
            expect(pages.iter().all(|page| page.len() <= 7), "a page is longer than its limit")?;
            let names: BTreeSet<_> = pages.concat().into_iter().collect();
            expect_equal((pages.concat().len(), names.len()), (100, 100), "accounts and names")?;
            let mut request = UserPageRequest::default();
            request.limit = Some(200);
            let page = list(&context, &UserFilter::default(), request).await?;
            let ids: Vec<_> = page.users.iter().map(|user| user.id.clone()).collect();
            expect(ids.is_sorted(), "the list is not by id")?;
            expect(page.next.is_none(), "there is a page behind the last one")?;
            let hashes = page.users.iter().filter(|user| user.password_hash.is_some()).count();
            expect_equal(hashes, 0, "hashes in the list")?;
            expect(
                !format!("{page:?}").contains(crate::canary::HASH_SECRET),
                "a hash shows in the list",
            )
        }
    ),
    case!(
        "USR-24",
        Usr,
        "A page has 1 to 200 accounts; other limits are refused.",
        "A limit of zero that means all, and silent clamping.",
        [],
        async |context| {
            create(&context, "ada").await?;
            for limit in [0, 201, u32::MAX] {
                let mut request = UserPageRequest::default();
                request.limit = Some(limit);
                let users = context.users();
                let listed =
                    users.list_users(Default::default(), request, Default::default()).await;
                expect_reason(listed, Reason::Limit, format_args!("{limit}"))?;
            }
            for limit in [1, 200] {
                let found = list_all(&context, &UserFilter::default(), limit).await?;
                expect_equal(found.concat().len(), 1, format_args!("{limit}"))?;
            }
            Ok(())
        }
    ),
    case!(
        "USR-25",
        Usr,
        "Whoever is there throughout is in the list once, while others come.",
        "Accounts that slip from one page to the next.",
        [],
        async |context| {
            for number in 0..40 {
                create(&context, &format!("old{number}")).await?;
            }
            let found = in_tasks(2, |task| {
                let context = context.clone();
                async move {
                    if task == 0 {
                        return Ok(list_all(&context, &UserFilter::default(), 3).await?.concat());
                    }
                    for number in 0..40 {
                        create(&context, &format!("new{number}")).await?;
                    }
                    Ok(Vec::new())
                }
            })
            .await?
            .concat();
            let names: BTreeSet<_> = found.iter().cloned().collect();
            expect_equal(names.len(), found.len(), "somebody is there twice")?;
            let old = names.iter().filter(|name| name.starts_with("old")).count();
            expect_equal(old, 40, "those who were there throughout")
        }
    ),
    case!(
        "USR-29",
        Usr,
        "Names are unique without any call to verify the indexes.",
        "Uniqueness that depends on a step somebody forgets.",
        [],
        async |context| {
            create(&context, "ada").await?;
            let again = context.users().create_user(new_user("Ada"), Default::default()).await;
            crate::expect_kind(again, ErrorKind::AlreadyExists, "the second")?;
            Ok(())
        }
    ),
    case!(
        "USR-39",
        Usr,
        "A list may be narrowed by the beginning of names, by role and by state; all must hold.",
        "Patterns in a prefix, and conditions that replace each other.",
        [],
        async |context| { narrowed_lists(&context).await }
    ),
];

async fn narrowed_lists(context: &Context) -> CaseResult {
    for (name, role, disabled) in [
        ("ada", Some("admin"), false),
        ("Adam", None, false),
        ("bob", Some("admin"), true),
        ("a_d", Some("administrator"), false),
    ] {
        let user = create(context, name).await?;
        let mut patch = UserPatch::default();
        patch.roles = role.map(|role| [role.to_owned()].into());
        patch.disabled = disabled.then_some(true);
        update(context, &user.id, patch).await?;
    }
    let filter = |prefix: Option<&str>, role: Option<&str>, disabled| {
        let mut filter = UserFilter::default();
        filter.name_prefix = prefix.map(str::to_owned);
        (filter.role, filter.disabled) = (role.map(str::to_owned), disabled);
        filter
    };
    for (filter, expected) in [
        (filter(Some("AD"), None, None), vec!["Adam", "ada"]),
        (filter(Some("a_"), None, None), vec!["a_d"]),
        (filter(Some("x"), None, None), vec![]),
        (filter(None, Some("admin"), None), vec!["ada", "bob"]),
        (filter(None, Some("admin"), Some(false)), vec!["ada"]),
        (filter(None, None, Some(true)), vec!["bob"]),
        (filter(Some("a"), Some("admin"), Some(true)), vec![]),
    ] {
        let mut found = list_all(context, &filter, 2).await?.concat();
        found.sort_unstable();
        expect_equal(found, expected, format_args!("{filter:?}"))?;
    }
    Ok(())
}
