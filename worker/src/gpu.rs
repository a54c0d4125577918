//! The command's GPUs through NVML, if its library is installed.

use nvml_wrapper::Nvml;

/// The GPUs that the command may use.
pub(crate) struct Gpus {
    nvml: Nvml,
    chosen: Chosen,
}

#[derive(Debug, PartialEq, Eq)]
enum Chosen {
    All,
    Some(Vec<Name>),
}

#[derive(Debug, PartialEq, Eq)]
enum Name {
    Index(u32),
    Uuid(String),
}

impl Gpus {
    /// `None` without the library or without a GPU, neither of which is an error.
    pub(crate) fn find(visible: Option<&str>) -> Option<Self> {
        let nvml = Nvml::init().ok()?;
        let chosen = chosen(visible);
        let some = nvml.device_count().ok()? > 0 && chosen != Chosen::Some(Vec::new());
        some.then_some(Self { nvml, chosen })
    }

    /// Utilisation, as the mean over the GPUs that answer.
    pub(crate) fn mean_percent(&self) -> Option<u32> {
        let percents: Vec<u32> = match &self.chosen {
            Chosen::All => {
                let count = self.nvml.device_count().ok()?;
                (0..count).filter_map(|index| self.percent(&Name::Index(index))).collect()
            }
            Chosen::Some(names) => names.iter().filter_map(|name| self.percent(name)).collect(),
        };
        let count = u32::try_from(percents.len()).ok()?;
        percents.iter().sum::<u32>().checked_div(count)
    }

    fn percent(&self, name: &Name) -> Option<u32> {
        let device = match name {
            Name::Index(index) => self.nvml.device_by_index(*index),
            Name::Uuid(uuid) => self.nvml.device_by_uuid(uuid.as_str()),
        };
        Some(device.ok()?.utilization_rates().ok()?.gpu.min(100))
    }
}

/// Reads `CUDA_VISIBLE_DEVICES`: indices or UUIDs; if not set, all.
fn chosen(visible: Option<&str>) -> Chosen {
    let Some(visible) = visible else { return Chosen::All };
    let names = visible.split(',').map(str::trim).filter(|name| !name.is_empty());
    let names = names.map(|name| match name.parse() {
        Ok(index) => Name::Index(index),
        Err(_) => Name::Uuid(name.to_owned()),
    });
    Chosen::Some(names.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn visible_devices_are_indices_or_uuids() {
        assert_eq!(chosen(None), Chosen::All);
        assert_eq!(chosen(Some("")), Chosen::Some(Vec::new()));
        let expected = vec![Name::Index(1), Name::Uuid("GPU-8f".to_owned())];
        assert_eq!(chosen(Some("1, GPU-8f")), Chosen::Some(expected));
    }
}
