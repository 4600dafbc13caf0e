//! The cases, one file per group of the catalogue.

mod bad;
mod cls;
mod doc;
mod idx;
mod ord;
mod pag;
mod pat;
mod pre;
mod qry;
mod reg;
mod res;
mod sdl;
mod wat;

use crate::case::Case;

/// Every case, in the catalogue's order.
pub fn cases() -> Vec<&'static Case> {
    let groups: [&'static [Case]; 13] = [
        doc::CASES,
        pre::CASES,
        pat::CASES,
        qry::CASES,
        ord::CASES,
        pag::CASES,
        idx::CASES,
        wat::CASES,
        res::CASES,
        sdl::CASES,
        reg::CASES,
        cls::CASES,
        bad::CASES,
    ];
    groups.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests;
