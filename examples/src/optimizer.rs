//! Adam (Kingma and Ba, 2015). Candle's own keeps its moments to itself; here
//! they can be saved, since without them a resumed run is another run.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use candle_core::Tensor;
use candle_core::backprop::GradStore;

use crate::model::CharModel;

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPSILON: f64 = 1e-8;

/// The two moments of each weight, in the model's order.
#[derive(Debug)]
pub(crate) struct Adam {
    moments: Vec<(Tensor, Tensor)>,
}

impl Adam {
    pub(crate) fn new(model: &CharModel) -> Result<Self> {
        let zeros = model
            .weights()
            .into_iter()
            .map(|(_, weight)| Ok((weight.zeros_like()?, weight.zeros_like()?)))
            .collect::<Result<_>>()?;
        Ok(Self { moments: zeros })
    }

    /// Changes the weights by one step, which is number `step` from 1.
    pub(crate) fn step(
        &mut self,
        model: &CharModel,
        gradients: &GradStore,
        rate: f64,
        step: u64,
    ) -> Result<()> {
        let power = i32::try_from(step).unwrap_or(i32::MAX);
        let (scale1, scale2) = (1.0 - BETA1.powi(power), 1.0 - BETA2.powi(power));
        for ((name, weight), (first, second)) in model.weights().into_iter().zip(&mut self.moments)
        {
            let gradient =
                gradients.get(weight).with_context(|| format!("no gradient of {name}"))?;
            *first = ((&*first * BETA1)? + (gradient * (1.0 - BETA1))?)?.detach();
            *second = ((&*second * BETA2)? + (gradient.sqr()? * (1.0 - BETA2))?)?.detach();
            let change = ((&*first / scale1)? / ((&*second / scale2)?.sqrt()? + EPSILON)?)?;
            weight.set(&(weight.as_tensor().detach() - (change * rate)?)?)?;
        }
        Ok(())
    }

    /// Adds the moments to what is saved.
    pub(crate) fn store(&self, model: &CharModel, tensors: &mut HashMap<String, Tensor>) {
        for ((name, _), (first, second)) in model.weights().into_iter().zip(&self.moments) {
            tensors.insert(format!("first.{name}"), first.clone());
            tensors.insert(format!("second.{name}"), second.clone());
        }
    }

    /// Finds the moments in what was saved.
    pub(crate) fn restore(model: &CharModel, tensors: &HashMap<String, Tensor>) -> Result<Self> {
        let find = |key: String, like: &Tensor| {
            let moment = tensors.get(&key).with_context(|| format!("moment {key} is missing"))?;
            ensure!(moment.shape() == like.shape(), "moment {key} does not fit");
            Ok(moment.clone())
        };
        let moments = model
            .weights()
            .into_iter()
            .map(|(name, weight)| {
                Ok((
                    find(format!("first.{name}"), weight)?,
                    find(format!("second.{name}"), weight)?,
                ))
            })
            .collect::<Result<_>>()?;
        Ok(Self { moments })
    }
}
