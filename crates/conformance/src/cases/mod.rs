//! The cases, one file per group of the catalogue.

mod bad;
mod bad_calls;
mod brought;
mod cls;
mod con;
mod doc;
mod doc_limits;
mod doc_names;
mod doc_values;
mod idx;
mod led;
mod obs;
mod ord;
mod ord_values;
mod pag;
mod pag_cursor;
mod pat;
mod pat_whole;
mod pre;
mod pre_predicates;
mod qry;
mod qry_arrays;
mod qry_random;
mod qry_whole;
pub(crate) mod random;
mod reg;
mod res;
mod res_history;
mod rev;
mod rev_reference;
mod rev_rotation;
mod rev_steps;
mod rev_tokens;
mod rev_whole;
mod rte;
mod rte_damage;
mod rte_steps;
mod sdl;
mod steps;
mod usr;
mod usr_feed;
mod usr_list;
mod usr_login;
mod usr_pages;
mod usr_races;
mod usr_steps;
mod usr_values;
mod usr_whole;
mod wat;
mod wat_order;

use crate::case::Case;

/// Every case, in the catalogue's order.
pub fn cases() -> Vec<&'static Case> {
    let groups: [&'static [Case]; 44] = [
        doc::CASES,
        doc_limits::CASES,
        doc_names::CASES,
        doc_values::CASES,
        pre::CASES,
        pre_predicates::CASES,
        pat::CASES,
        pat_whole::CASES,
        qry::CASES,
        qry_arrays::CASES,
        qry_random::CASES,
        qry_whole::CASES,
        ord::CASES,
        ord_values::CASES,
        pag::CASES,
        pag_cursor::CASES,
        idx::CASES,
        wat::CASES,
        wat_order::CASES,
        res::CASES,
        res_history::CASES,
        sdl::CASES,
        reg::CASES,
        rte::CASES,
        rte_damage::CASES,
        cls::CASES,
        usr::CASES,
        usr_login::CASES,
        usr_list::CASES,
        usr_races::CASES,
        usr_whole::CASES,
        usr_values::CASES,
        usr_pages::CASES,
        usr_feed::CASES,
        rev::CASES,
        rev_rotation::CASES,
        rev_reference::CASES,
        rev_whole::CASES,
        brought::CASES,
        led::CASES,
        con::CASES,
        bad::CASES,
        bad_calls::CASES,
        obs::CASES,
    ];
    let mut cases: Vec<_> = groups.into_iter().flatten().collect();
    cases.sort_by_key(|case| (case.group, case.id));
    cases
}

#[cfg(test)]
mod tests;
