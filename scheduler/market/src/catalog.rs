//! The catalogue: the available zones and machine types, what a machine has and what it
//! costs on demand.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use spotwise_model::id::{Accelerator, InstanceType, Zone};
use spotwise_model::{NodeShape, Price};

/// The default catalogue, used when no other is given.
const BUILT_IN: &str = include_str!("catalog.yaml");

/// Zones and machine types.
#[derive(Clone, Debug, PartialEq)]
pub struct Catalog {
    zones: Vec<Zone>,
    types: BTreeMap<InstanceType, MachineType>,
}

/// One machine type.
#[derive(Clone, Debug, PartialEq)]
pub struct MachineType {
    /// Its name.
    pub name: InstanceType,
    /// What it has.
    pub shape: NodeShape,
    /// What it costs on demand, in every zone of the catalogue.
    pub on_demand: Price,
    /// Its usual spot price as a fraction of on-demand, for the synthetic market.
    pub spot_fraction: f64,
    /// Title and date of the source of its on-demand price.
    pub price_source: String,
}

/// A catalogue that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The file cannot be read.
    #[error("cannot read the catalogue {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is not YAML of the expected form, or names a field that does not exist.
    #[error("the catalogue {origin} is not well formed")]
    Form {
        /// Where it came from.
        origin: String,
        /// The parser's message: line, column and field.
        #[source]
        source: Box<serde_saphyr::Error>,
    },
    /// A field has a value that makes no sense.
    #[error("the catalogue {origin}: `{field}` of `{entry}` {problem}")]
    Field {
        /// Where it came from.
        origin: String,
        /// The machine type, zone or source.
        entry: String,
        /// Its field.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

/// A machine type that the catalogue does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the catalogue does not know the machine type `{instance_type}`; add it under `types` of a catalogue file, with its shape and its on-demand price, and load that file"
)]
pub struct UnknownType {
    /// Its name.
    pub instance_type: InstanceType,
}

impl Catalog {
    /// The catalogue built into the program.
    pub fn built_in() -> Self {
        Self::parse(BUILT_IN, "built in").expect("a test reads the catalogue that is built in")
    }

    /// Reads a catalogue file.
    pub fn read(path: &Path) -> Result<Self, CatalogError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| CatalogError::Read { path: path.to_owned(), source })?;
        Self::parse(&text, &path.display().to_string())
    }

    /// Reads a catalogue from its text; `origin` names it in errors.
    pub fn parse(text: &str, origin: &str) -> Result<Self, CatalogError> {
        let document: Document = serde_saphyr::from_str(text).map_err(|source| {
            CatalogError::Form { origin: origin.to_owned(), source: Box::new(source) }
        })?;
        document.check().map_err(|Fault { entry, field, problem }| CatalogError::Field {
            origin: origin.to_owned(),
            entry,
            field,
            problem,
        })
    }

    /// The zones, in file order.
    pub fn zones(&self) -> &[Zone] {
        &self.zones
    }

    /// Every machine type, by name.
    pub fn types(&self) -> impl Iterator<Item = &MachineType> {
        self.types.values()
    }

    /// The machine type of that name.
    pub fn machine_type(&self, name: &InstanceType) -> Result<&MachineType, UnknownType> {
        self.types.get(name).ok_or_else(|| UnknownType { instance_type: name.clone() })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    sources: BTreeMap<String, Source>,
    zones: Zones,
    types: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    title: String,
    date: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Zones {
    source: String,
    names: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    accelerator: Option<String>,
    #[serde(default)]
    gpus: u32,
    #[serde(default)]
    gpu_memory_mib: u64,
    cpus: u64,
    memory_mib: u64,
    shape_source: String,
    on_demand_usd_per_hour: String,
    price_source: String,
    spot_fraction: f64,
    spot_source: String,
}

/// What is wrong, before the origin of the text is known.
struct Fault {
    entry: String,
    field: &'static str,
    problem: String,
}

fn fault(entry: &str, field: &'static str, problem: impl Into<String>) -> Fault {
    let entry = entry.chars().take(80).collect();
    Fault { entry, field, problem: problem.into() }
}

impl Document {
    fn check(&self) -> Result<Catalog, Fault> {
        if self.version != 1 {
            return Err(fault("catalogue", "version", "must be 1"));
        }
        for (name, source) in &self.sources {
            if source.title.is_empty() {
                return Err(fault(name, "title", "is empty"));
            }
            if source.date.parse::<jiff::civil::Date>().is_err() {
                return Err(fault(name, "date", "is not a date such as 2026-07-20"));
            }
        }
        self.source("zones", "source", &self.zones.source)?;
        let mut zones = BTreeSet::new();
        for name in &self.zones.names {
            if !is_name(name) {
                return Err(fault(name, "names", NAME_RULE));
            }
            if !zones.insert(name) {
                return Err(fault(name, "names", "is listed twice"));
            }
        }
        let mut types = BTreeMap::new();
        for entry in &self.types {
            let machine = self.machine(entry)?;
            if types.insert(machine.name.clone(), machine).is_some() {
                return Err(fault(&entry.name, "name", "is listed twice"));
            }
        }
        Ok(Catalog { zones: self.zones.names.iter().map(Zone::new).collect(), types })
    }

    fn machine(&self, entry: &Entry) -> Result<MachineType, Fault> {
        let wrong = |field, problem: &str| fault(&entry.name, field, problem);
        if !is_name(&entry.name) {
            return Err(wrong("name", NAME_RULE));
        }
        let accelerator = entry.accelerator.as_deref().map(Accelerator::canonical);
        if accelerator.is_some() != (entry.gpus > 0) {
            return Err(wrong("gpus", "must be above zero with an accelerator, and zero without"));
        }
        if accelerator.as_ref().map(Accelerator::as_str) != entry.accelerator.as_deref() {
            return Err(wrong("accelerator", "is not in its canonical spelling"));
        }
        if (entry.gpu_memory_mib > 0) != (entry.gpus > 0) || entry.gpu_memory_mib > MAX_MIB {
            return Err(wrong("gpu_memory_mib", "does not fit the number of GPUs"));
        }
        if entry.cpus == 0 || entry.cpus > MAX_CPUS {
            return Err(wrong("cpus", "must be from 1 to 100000"));
        }
        if entry.memory_mib == 0 || entry.memory_mib > MAX_MIB {
            return Err(wrong("memory_mib", "must be from 1 to 1073741824"));
        }
        let on_demand: Price = entry
            .on_demand_usd_per_hour
            .parse()
            .map_err(|error| fault(&entry.name, "on_demand_usd_per_hour", format!("is {error}")))?;
        if on_demand == Price::ZERO {
            return Err(wrong("on_demand_usd_per_hour", "must be above zero"));
        }
        if !(entry.spot_fraction > 0.0 && entry.spot_fraction <= 1.0) {
            return Err(wrong("spot_fraction", "must be above 0 and at most 1"));
        }
        self.source(&entry.name, "shape_source", &entry.shape_source)?;
        self.source(&entry.name, "spot_source", &entry.spot_source)?;
        Ok(MachineType {
            name: InstanceType::new(&entry.name),
            shape: NodeShape {
                accelerator,
                gpus: entry.gpus,
                gpu_memory_mib: entry.gpu_memory_mib,
                cpu_milli: entry.cpus * 1_000,
                memory_mib: entry.memory_mib,
            },
            on_demand,
            spot_fraction: entry.spot_fraction,
            price_source: self.source(&entry.name, "price_source", &entry.price_source)?,
        })
    }

    /// Title and date of a source that an entry refers to.
    fn source(&self, entry: &str, field: &'static str, name: &str) -> Result<String, Fault> {
        let source = self
            .sources
            .get(name)
            .ok_or_else(|| fault(entry, field, "is not one of the `sources`"))?;
        Ok(format!("{} ({})", source.title, source.date))
    }
}

const MAX_CPUS: u64 = 100_000;
/// One PiB.
const MAX_MIB: u64 = 1 << 30;

pub(super) const NAME_RULE: &str =
    "must be 1 to 63 lower-case letters, digits, points or hyphens, and begin with a letter";

/// Whether a text can name a zone or a machine type.
pub(super) fn is_name(text: &str) -> bool {
    text.len() <= 63
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(error: &CatalogError) -> String {
        let source = std::error::Error::source(error).map(ToString::to_string);
        format!("{error}: {}", source.unwrap_or_default())
    }

    #[test]
    fn the_built_in_catalogue_is_sound() {
        let catalog = Catalog::built_in();
        assert!(catalog.types().count() >= 15);
        let p3 = catalog.machine_type(&InstanceType::new("p3.2xlarge")).unwrap();
        assert_eq!(p3.on_demand, Price::from_micros_per_hour(3_060_000));
        assert_eq!(p3.shape.accelerator, Some(Accelerator::new("V100")));
        assert_eq!((p3.shape.gpus, p3.shape.cpu_milli), (1, 8_000));
        let p4d = catalog.machine_type(&InstanceType::new("p4d.24xlarge")).unwrap();
        assert_eq!(p4d.on_demand, Price::from_micros_per_hour(21_957_642));
        for machine in catalog.types() {
            if let Some(accelerator) = &machine.shape.accelerator {
                let known = spotwise_model::gpu::KNOWN_ACCELERATORS;
                assert!(known.contains(&accelerator.as_str()), "{accelerator}");
            }
        }
    }

    #[test]
    fn an_unknown_type_comes_with_a_remedy() {
        let error = Catalog::built_in().machine_type(&InstanceType::new("x9.large")).unwrap_err();
        assert!(error.to_string().contains("`x9.large`") && error.to_string().contains("add it"));
    }

    #[test]
    fn an_unknown_key_is_named() {
        let text = BUILT_IN.replacen("spot_fraction:", "spot_frction:", 1);
        let error = Catalog::parse(&text, "a test").unwrap_err();
        assert!(message(&error).contains("spot_frction"), "{}", message(&error));
    }

    #[test]
    fn a_bad_figure_names_entry_and_field() {
        for (from, to, field) in [
            ("gpus: 1", "gpus: 0", "gpus"),
            ("accelerator: V100", "accelerator: v100", "accelerator"),
            ("\"3.06\"", "\"-3.06\"", "on_demand_usd_per_hour"),
            ("\"3.06\"", "\"0\"", "on_demand_usd_per_hour"),
            ("spot_fraction: 0.358", "spot_fraction: .nan", "spot_fraction"),
            ("price_source: karpenter", "price_source: hearsay", "price_source"),
            ("name: p3.2xlarge", "name: p2.xlarge", "name"),
            ("date: 2026-07-20", "date: last week", "date"),
            ("us-east-1c", "us-east-1a", "names"),
        ] {
            assert!(BUILT_IN.contains(from), "{from}");
            let error = Catalog::parse(&BUILT_IN.replacen(from, to, 1), "a test").unwrap_err();
            let CatalogError::Field { field: named, .. } = &error else {
                panic!("{}", message(&error))
            };
            assert_eq!(*named, field);
        }
    }
}
