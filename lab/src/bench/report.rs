//! Results: medians, spreads and ratios, as JSON and as a table.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::compositors::Compositor;

/// A case, its unit, and the samples of each compositor.
type Samples = (String, String, BTreeMap<Compositor, Vec<f64>>);

/// Samples by case, in the order in which cases were first measured.
#[derive(Default)]
pub struct Results(Vec<Samples>);

/// A case as in results.json; lower is better.
#[derive(Serialize)]
struct Case {
    case: String,
    unit: String,
    ours: Option<f64>,
    peers: BTreeMap<&'static str, Option<f64>>,
    /// Ours divided by the best peer's; `None` if the best peer's is 0.
    ratio_to_best: Option<f64>,
    /// The same measured with page flips only, in the same machine.
    floor: Option<f64>,
    /// The smallest and the largest sample of each compositor.
    spread: BTreeMap<&'static str, (f64, f64)>,
}

fn median(samples: &[f64]) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

impl Results {
    /// Adds a sample to a case.
    pub fn add(&mut self, case: &str, unit: &str, compositor: Compositor, sample: f64) {
        let index = self.0.iter().position(|(known, ..)| known == case).unwrap_or_else(|| {
            self.0.push((case.to_owned(), unit.to_owned(), BTreeMap::new()));
            self.0.len() - 1
        });
        self.0[index].2.entry(compositor).or_default().push(sample);
    }

    fn cases(&self) -> Vec<Case> {
        let case = |(case, unit, samples): &Samples| {
            let of = |compositor: Compositor| samples.get(&compositor).and_then(|samples| median(samples));
            let peers: BTreeMap<_, _> = [Compositor::Sway, Compositor::Cage]
                .map(|peer| (peer.name(), of(peer)))
                .into_iter()
                .collect();
            let ours = of(Compositor::Ours);
            let best = peers.values().flatten().copied().min_by(f64::total_cmp).filter(|best| *best > 0.0);
            let spread = samples.iter().filter_map(|(compositor, samples)| {
                let least = samples.iter().copied().min_by(f64::total_cmp)?;
                let most = samples.iter().copied().max_by(f64::total_cmp)?;
                Some((compositor.name(), (least, most)))
            });
            Case {
                case: case.clone(),
                unit: unit.clone(),
                ours,
                ratio_to_best: ours.zip(best).map(|(ours, best)| ours / best),
                floor: of(Compositor::Floor),
                spread: spread.collect(),
                peers,
            }
        };
        self.0.iter().map(case).collect()
    }

    /// Writes results.json and table.md, and prints the table.
    pub fn write(&self, directory: &Path) -> Result<()> {
        std::fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
        let cases = self.cases();
        std::fs::write(directory.join("results.json"), serde_json::to_string_pretty(&cases)?)?;
        let number = |value: Option<f64>| match value {
            None => "–".to_owned(),
            Some(value) if value >= 1000.0 => format!("{value:.0}"),
            Some(value) if value >= 10.0 => format!("{value:.1}"),
            Some(value) => format!("{value:.2}"),
        };
        let mut table = String::from(
            "| case | unit | ours | sway | cage | ratio to the better peer | page flips only |\n|---|---|---|---|---|---|---|\n",
        );
        for case in &cases {
            let with_spread = |name: &str, value: Option<f64>| match case.spread.get(name) {
                Some((least, most)) => {
                    format!("{} ({}–{})", number(value), number(Some(*least)), number(Some(*most)))
                }
                None => number(value),
            };
            let peer = |name: &str| with_spread(name, case.peers.get(name).copied().flatten());
            let columns = [
                case.case.clone(),
                case.unit.clone(),
                with_spread("ours", case.ours),
                peer("sway"),
                peer("cage"),
                number(case.ratio_to_best),
                with_spread("floor", case.floor),
            ];
            table += &format!("| {} |\n", columns.join(" | "));
        }
        std::fs::write(directory.join("table.md"), &table)?;
        print!("{table}");
        Ok(())
    }
}
