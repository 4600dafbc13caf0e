//! Makes a script that fails short: fewer steps first, then simpler ones.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use super::script::{Script, Step};
use super::{Broken, Disagreement, attempt};
use crate::harness::Harness;

/// Runs of a script are cheap where the data lies near; on a slow server the time ends it first.
const ATTEMPTS_MAX: usize = 600;
const TIME_MAX: Duration = Duration::from_secs(90);

struct Shrinking<'harnesses> {
    subject: &'harnesses Arc<dyn Harness>,
    reference: &'harnesses Arc<dyn Harness>,
    script: Script,
    broken: Broken,
    attempts: usize,
    started: Instant,
}

/// The shortest script that was found to fail as well.
pub(super) async fn shrink(
    subject: &Arc<dyn Harness>,
    reference: &Arc<dyn Harness>,
    mut script: Script,
    broken: Broken,
    seed: u64,
) -> Disagreement {
    let steps_before = script.steps.len();
    // What comes behind the step that failed has not been run.
    script.steps.truncate(broken.step + 1);
    let (attempts, started) = (0, Instant::now());
    let mut shrinking = Shrinking { subject, reference, script, broken, attempts, started };
    while shrinking.round().await {}
    let Shrinking { script, broken, .. } = shrinking;
    Disagreement { script, failure: broken.failure, seed, steps_before }
}

impl Shrinking<'_> {
    /// One pass over everything that can be left out; whether anything was.
    async fn round(&mut self) -> bool {
        let mut shorter = self.use_fast_paths().await;
        let mut size = (self.script.steps.len() / 2).max(1);
        while size > 0 {
            shorter |= self.remove_chunks(size).await;
            size /= 2;
        }
        for index in 0..self.script.steps.len() {
            shorter |= self.simplify(index).await;
        }
        shorter && !self.is_over()
    }

    fn is_over(&self) -> bool {
        self.attempts >= ATTEMPTS_MAX || self.started.elapsed() >= TIME_MAX
    }

    async fn use_fast_paths(&mut self) -> bool {
        let fast = Script { fast_paths: true, ..self.script.clone() };
        !self.script.fast_paths && self.keep_if_broken(fast).await
    }

    async fn remove_chunks(&mut self, size: usize) -> bool {
        let (mut removed, mut start) = (false, 0);
        while start < self.script.steps.len() {
            let mut shorter = self.script.clone();
            let end = (start + size).min(shorter.steps.len());
            shorter.steps.drain(start..end);
            match self.keep_if_broken(shorter).await {
                true => removed = true,
                false => start = end,
            }
        }
        removed
    }

    async fn simplify(&mut self, index: usize) -> bool {
        let mut simplified = false;
        while let Some(step) = self.script.steps.get(index) {
            let mut found = false;
            for simpler in simpler(step) {
                let mut script = self.script.clone();
                script.steps[index] = simpler;
                found = self.keep_if_broken(script).await;
                if found {
                    break;
                }
            }
            if !found {
                break;
            }
            simplified = true;
        }
        simplified
    }

    async fn keep_if_broken(&mut self, script: Script) -> bool {
        if script.steps.is_empty() || self.is_over() {
            return false;
        }
        self.attempts += 1;
        match attempt(self.subject, self.reference, &script).await {
            Ok(()) => false,
            Err(broken) => {
                (self.script, self.broken) = (script, broken);
                self.script.steps.truncate(self.broken.step + 1);
                true
            }
        }
    }
}

/// The same step with one thing less, each way.
fn simpler(step: &Step) -> Vec<Step> {
    let mut all = Vec::new();
    if let Step::Bulk { items } = step {
        for index in 0..items.len() {
            let mut fewer = items.clone();
            fewer.remove(index);
            all.push(Step::Bulk { items: fewer });
        }
        if let [only] = &items[..] {
            all.push(only.clone());
        }
    }
    all.extend(with_less(step));
    all.retain(|simpler| simpler != step);
    all
}

/// Empty data, no condition, no filter, no grace: one at a time, by the step's own JSON form.
fn with_less(step: &Step) -> Vec<Step> {
    let Ok(Value::Object(named)) = serde_json::to_value(step) else { return Vec::new() };
    let Some((name, Value::Object(arguments))) = named.into_iter().next() else {
        return Vec::new();
    };
    let mut all = Vec::new();
    for (argument, value) in &arguments {
        for less in less_of(argument, value) {
            let mut fewer = arguments.clone();
            match less {
                Some(value) => fewer.insert(argument.clone(), value),
                None => fewer.remove(argument),
            };
            let named = Map::from_iter([(name.clone(), fewer.into())]);
            all.extend(serde_json::from_value::<Step>(named.into()));
        }
    }
    all
}

/// What may stand in an argument's place; `None` leaves it out.
fn less_of(argument: &str, value: &Value) -> Vec<Option<Value>> {
    match (argument, value) {
        ("data" | "profile" | "changes", _) => vec![Some(Map::new().into())],
        ("roles" | "filters" | "order" | "conditions", _) => vec![Some(Vec::<Value>::new().into())],
        ("tokens" | "paths", Value::Array(names)) => (0..names.len())
            .map(|index| {
                let mut fewer = names.clone();
                fewer.remove(index);
                Some(fewer.into())
            })
            .collect(),
        ("graceMs", _) => vec![Some(0.into())],
        ("version", _) => vec![Some("any".into())],
        ("name" | "reason" | "prefix" | "role" | "disabled" | "ticket" | "deleted", _) => {
            vec![None]
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Step {
        line.parse().unwrap()
    }

    #[test]
    fn a_step_loses_one_thing_at_a_time() {
        let step =
            parse(r#"delete {"path":"a/b","version":"current","conditions":[["n","==",1]]}"#);
        let lines: Vec<_> = simpler(&step).iter().map(Step::to_string).collect();
        let without_version = r#"delete {"path":"a/b","conditions":[["n","==",1]]}"#;
        assert_eq!(lines, [r#"delete {"path":"a/b","version":"current"}"#, without_version]);
    }

    #[test]
    fn a_bulk_of_one_becomes_its_item() {
        let step = parse(r#"bulk {"items":[{"get":{"path":"a/b"}}]}"#);
        assert!(simpler(&step).contains(&parse(r#"get {"path":"a/b"}"#)));
    }

    #[test]
    fn nothing_is_simpler_than_a_plain_step() {
        assert_eq!(simpler(&Step::Drain), []);
        assert_eq!(simpler(&parse(r#"get {"path":"a/b"}"#)), []);
    }
}
