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

suite! {}

#[cfg(test)]
mod tests {
    use super::{IDS, cases};

    #[test]
    fn the_macro_has_a_test_for_every_case() {
        let known: Vec<_> = cases().into_iter().map(|case| case.id).collect();
        assert_eq!(IDS, known, "the list below `suite!` is not the list of cases");
    }
}
