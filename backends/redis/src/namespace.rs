//! Removing everything of one namespace.

use redis::Value;
use syntrix_storage_core::Result;
use syntrix_storage_core::backend::OpenContext;

use crate::address::{Node, Target};
use crate::connect::Link;
use crate::keys::Keys;
use crate::listing;
use crate::route::Route;
use crate::settings::Settings;

/// Removes the keys of `context`'s namespace from every primary.
pub(crate) async fn remove(
    settings: &Settings,
    target: &Target,
    context: &OpenContext,
) -> Result<()> {
    let namespace = context.removable_namespace()?;
    let link = Link::new(Route::new(settings, target, &context.data_dir)?, settings);
    let pattern = Keys::new(&settings.prefix, Some(namespace)).pattern();
    let mut removed = Ok(());
    for (node, _) in link.facts().await? {
        removed = removed.and(remove_from(&link, &node, &pattern).await);
    }
    link.close();
    removed
}

async fn remove_from(link: &Link, node: &Node, pattern: &str) -> Result<()> {
    let mut cursor = 0_u64;
    loop {
        let (next, keys) = listing::step(link, node, cursor, pattern).await?;
        for key in keys {
            let mut unlink = redis::cmd("UNLINK");
            unlink.arg(key);
            link.command::<Value>(&unlink, None).await?;
        }
        cursor = next;
        if cursor == 0 {
            return Ok(());
        }
    }
}
