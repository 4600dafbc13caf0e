//! One test per case.

use std::future::Future;
use std::sync::Arc;

use crate::cases::cases;
use crate::harness::Harness;
use crate::report::Verdict;
use crate::runner::run_case;

/// Runs one case as a test: returns if it passes or does not apply, panics if it fails.
#[doc(hidden)]
pub fn run_as_test<H: Harness + 'static>(id: &str, harness: impl Future<Output = H>) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let Ok(runtime) = runtime else { panic!("no runtime for {id}") };
    let Some(case) = cases().into_iter().find(|case| case.id == id) else {
        panic!("there is no case {id}")
    };
    let report = runtime.block_on(async { run_case(Arc::new(harness.await), case).await });
    match (report.verdict, report.reason) {
        (Verdict::Passed, _) => {}
        (Verdict::NotApplicable, reason) => {
            println!("{id} is not applicable: {}", reason.unwrap_or_default());
        }
        (Verdict::Failed, reason) => panic!(
            "{id}: {}\n{}\nGuards against: {}",
            case.name,
            reason.unwrap_or_default(),
            case.guards_against
        ),
    }
}

macro_rules! suite {
    ($($name:ident $id:literal)*) => {
        /// Makes one `#[test]` per case. The expression gives a [`Harness`]; it runs once per test, inside a tokio runtime,
        /// and may use `.await`.
        #[macro_export]
        macro_rules! conformance_suite {
            ($harness:expr) => {
                $(
                    #[test]
                    fn $name() {
                        $crate::run_as_test($id, async { $harness });
                    }
                )*
            };
        }

        #[cfg(test)]
        const IDS: &[&str] = &[$($id),*];
    };
}

suite! {
    doc_01 "DOC-01"
    doc_02 "DOC-02"
    doc_03 "DOC-03"
    doc_04 "DOC-04"
    doc_05 "DOC-05"
    doc_06 "DOC-06"
    doc_07 "DOC-07"
    doc_08 "DOC-08"
    doc_09 "DOC-09"
    doc_10 "DOC-10"
    doc_11 "DOC-11"
    doc_12 "DOC-12"
    doc_13 "DOC-13"
    doc_14 "DOC-14"
    doc_15 "DOC-15"
    doc_16 "DOC-16"
    doc_17 "DOC-17"
    doc_18 "DOC-18"
    doc_19 "DOC-19"
    doc_20 "DOC-20"
    doc_21 "DOC-21"
    doc_23 "DOC-23"
    doc_24 "DOC-24"
    doc_25 "DOC-25"
    doc_26 "DOC-26"
    doc_27 "DOC-27"
    doc_28 "DOC-28"
    doc_29 "DOC-29"
    doc_30 "DOC-30"
    doc_31 "DOC-31"
    doc_32 "DOC-32"
    doc_33 "DOC-33"
    doc_34 "DOC-34"
    doc_35 "DOC-35"
    doc_36 "DOC-36"
    doc_37 "DOC-37"
    doc_39 "DOC-39"
    doc_40 "DOC-40"
    doc_41 "DOC-41"
    pre_01 "PRE-01"
    pre_02 "PRE-02"
    pre_03 "PRE-03"
    pre_04 "PRE-04"
    pre_05 "PRE-05"
    pre_06 "PRE-06"
    pre_07 "PRE-07"
    pre_08 "PRE-08"
    pre_09 "PRE-09"
    pre_10 "PRE-10"
    pre_11 "PRE-11"
    pre_12 "PRE-12"
    pre_13 "PRE-13"
    pre_15 "PRE-15"
    pre_16 "PRE-16"
    pre_17 "PRE-17"
    pre_21 "PRE-21"
    pre_22 "PRE-22"
    pre_23 "PRE-23"
    pre_24 "PRE-24"
    pat_01 "PAT-01"
    pat_02 "PAT-02"
    pat_03 "PAT-03"
    pat_04 "PAT-04"
    pat_05 "PAT-05"
    pat_06 "PAT-06"
    pat_07 "PAT-07"
    pat_08 "PAT-08"
    pat_09 "PAT-09"
    pat_10 "PAT-10"
    pat_11 "PAT-11"
    pat_13 "PAT-13"
    pat_22 "PAT-22"
    pat_23 "PAT-23"
    pat_24 "PAT-24"
    pat_25 "PAT-25"
    pat_26 "PAT-26"
    pat_27 "PAT-27"
    pat_28 "PAT-28"
    pat_29 "PAT-29"
    pat_30 "PAT-30"
    pat_32 "PAT-32"
    pat_33 "PAT-33"
    pat_34 "PAT-34"
    qry_01 "QRY-01"
    qry_02 "QRY-02"
    qry_03 "QRY-03"
    qry_04 "QRY-04"
    qry_05 "QRY-05"
    qry_06 "QRY-06"
    qry_07 "QRY-07"
    qry_08 "QRY-08"
    qry_09 "QRY-09"
    qry_10 "QRY-10"
    qry_12 "QRY-12"
    qry_14 "QRY-14"
    qry_15 "QRY-15"
    qry_16 "QRY-16"
    qry_17 "QRY-17"
    qry_18 "QRY-18"
    qry_20 "QRY-20"
    qry_21 "QRY-21"
    qry_23 "QRY-23"
    qry_24 "QRY-24"
    qry_26 "QRY-26"
    qry_27 "QRY-27"
    qry_28 "QRY-28"
    qry_29 "QRY-29"
    qry_30 "QRY-30"
    qry_32 "QRY-32"
    qry_34 "QRY-34"
    ord_01 "ORD-01"
    ord_02 "ORD-02"
    ord_03 "ORD-03"
    ord_04 "ORD-04"
    ord_05 "ORD-05"
    ord_06 "ORD-06"
    ord_07 "ORD-07"
    ord_08 "ORD-08"
    ord_09 "ORD-09"
    ord_10 "ORD-10"
    ord_11 "ORD-11"
    ord_12 "ORD-12"
    ord_13 "ORD-13"
    ord_14 "ORD-14"
    pag_01 "PAG-01"
    pag_02 "PAG-02"
    pag_03 "PAG-03"
    pag_04 "PAG-04"
    pag_05 "PAG-05"
    pag_06 "PAG-06"
    pag_07 "PAG-07"
    pag_08 "PAG-08"
    pag_09 "PAG-09"
    pag_10 "PAG-10"
    pag_11 "PAG-11"
    pag_12 "PAG-12"
    pag_13 "PAG-13"
    pag_14 "PAG-14"
    pag_15 "PAG-15"
    pag_16 "PAG-16"
    pag_17 "PAG-17"
    idx_01 "IDX-01"
    idx_02 "IDX-02"
    idx_03 "IDX-03"
    idx_04 "IDX-04"
    idx_05 "IDX-05"
    idx_06 "IDX-06"
    idx_07 "IDX-07"
    idx_10 "IDX-10"
    idx_11 "IDX-11"
    idx_13 "IDX-13"
    wat_01 "WAT-01"
    wat_02 "WAT-02"
    wat_03 "WAT-03"
    wat_04 "WAT-04"
    wat_05 "WAT-05"
    wat_06 "WAT-06"
    wat_07 "WAT-07"
    wat_08 "WAT-08"
    wat_09 "WAT-09"
    wat_10 "WAT-10"
    wat_11 "WAT-11"
    wat_12 "WAT-12"
    wat_13 "WAT-13"
    wat_14 "WAT-14"
    wat_15 "WAT-15"
    wat_16 "WAT-16"
    wat_17 "WAT-17"
    wat_18 "WAT-18"
    wat_20 "WAT-20"
    wat_21 "WAT-21"
    wat_23 "WAT-23"
    wat_24 "WAT-24"
    wat_26 "WAT-26"
    wat_27 "WAT-27"
    wat_28 "WAT-28"
    wat_29 "WAT-29"
    wat_30 "WAT-30"
    res_01 "RES-01"
    res_02 "RES-02"
    res_03 "RES-03"
    res_04 "RES-04"
    res_05 "RES-05"
    res_06 "RES-06"
    res_07 "RES-07"
    res_08 "RES-08"
    res_09 "RES-09"
    res_11 "RES-11"
    res_12 "RES-12"
    res_13 "RES-13"
    res_16 "RES-16"
    res_17 "RES-17"
    sdl_01 "SDL-01"
    sdl_02 "SDL-02"
    sdl_03 "SDL-03"
    sdl_04 "SDL-04"
    sdl_05 "SDL-05"
    sdl_06 "SDL-06"
    sdl_07 "SDL-07"
    sdl_08 "SDL-08"
    sdl_09 "SDL-09"
    sdl_10 "SDL-10"
    sdl_11 "SDL-11"
    sdl_12 "SDL-12"
    sdl_19 "SDL-19"
    reg_01 "REG-01"
    reg_03 "REG-03"
    reg_04 "REG-04"
    reg_05 "REG-05"
    reg_06 "REG-06"
    reg_07 "REG-07"
    reg_11 "REG-11"
    reg_12 "REG-12"
    reg_18 "REG-18"
    reg_19 "REG-19"
    reg_20 "REG-20"
    reg_21 "REG-21"
    cls_01 "CLS-01"
    cls_02 "CLS-02"
    cls_03 "CLS-03"
    cls_04 "CLS-04"
    cls_05 "CLS-05"
    cls_07 "CLS-07"
    cls_09 "CLS-09"
    cls_11 "CLS-11"
    cls_12 "CLS-12"
    cls_14 "CLS-14"
    cls_15 "CLS-15"
    bad_01 "BAD-01"
    bad_02 "BAD-02"
    bad_03 "BAD-03"
    bad_04 "BAD-04"
    bad_05 "BAD-05"
    bad_06 "BAD-06"
    bad_07 "BAD-07"
    bad_09 "BAD-09"
    bad_10 "BAD-10"
    bad_13 "BAD-13"
    bad_16 "BAD-16"
    bad_17 "BAD-17"
    bad_18 "BAD-18"
    bad_19 "BAD-19"
}

#[cfg(test)]
mod tests {
    use super::{IDS, cases};

    #[test]
    fn the_macro_has_a_test_for_every_case() {
        let known: Vec<_> = cases().into_iter().map(|case| case.id).collect();
        assert_eq!(IDS, known, "the list below `suite!` is not the list of cases");
    }
}
