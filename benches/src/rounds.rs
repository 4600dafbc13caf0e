//! Paired rounds, medians and the row they end up in.

use std::fmt;
use std::future::Future;
use std::time::{Duration, Instant};

use crate::Failure;

/// What a loop used.
#[derive(Clone, Copy, Debug)]
pub struct Used {
    pub wall: Duration,
    pub cpu: Duration,
}

/// Runs `work` and measures the whole process, so nothing may run beside it.
pub async fn measure<F: Future<Output = Result<(), Failure>>>(work: F) -> Result<Used, Failure> {
    let (wall, cpu) = (Instant::now(), process_cpu());
    work.await?;
    Ok(Used { wall: wall.elapsed(), cpu: process_cpu().saturating_sub(cpu) })
}

fn process_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// One round: the raw loop and the layer's.
#[derive(Clone, Copy, Debug)]
pub struct Pair {
    pub raw: Duration,
    pub layer: Duration,
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The value that `share` of the values do not exceed.
pub fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[((sorted.len() - 1) as f64 * share) as usize]
}

/// One line of the result table.
#[derive(Debug)]
pub struct Row {
    name: String,
    raw: String,
    layer: String,
    figure: f64,
    unit: &'static str,
    gate: f64,
}

impl Row {
    /// Median ratio of layer to raw, with the medians per operation beside it.
    pub fn ratio(name: &str, pairs: &[Pair], operations: usize, gate: f64) -> Self {
        let per = |duration: Duration| duration.as_secs_f64() * 1e6 / operations as f64;
        let raw = median(pairs.iter().map(|pair| per(pair.raw)).collect());
        let layer = median(pairs.iter().map(|pair| per(pair.layer)).collect());
        let ratio = |pair: &Pair| pair.layer.as_secs_f64() / pair.raw.as_secs_f64();
        Self {
            name: name.into(),
            raw: format!("{raw:.2} µs"),
            layer: format!("{layer:.2} µs"),
            figure: median(pairs.iter().map(ratio).collect()),
            unit: "×",
            gate,
        }
    }

    /// A figure of its own.
    pub fn figure(
        name: &str,
        raw: String,
        layer: String,
        figure: f64,
        unit: &'static str,
        gate: f64,
    ) -> Self {
        Self { name: name.into(), raw, layer, figure, unit, gate }
    }

    pub fn reached(&self) -> bool {
        self.figure <= self.gate
    }
}

impl fmt::Display for Row {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, raw, layer, figure, unit, gate } = self;
        let reached = if self.reached() { "yes" } else { "NO" };
        write!(
            formatter,
            "| {name} | {raw} | {layer} | {figure:.2} {unit} | ≤ {gate:.2} {unit} | {reached} |"
        )
    }
}
