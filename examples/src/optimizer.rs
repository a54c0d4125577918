//! Adam (Kingma and Ba, 2015). Its moments can be saved, since without them a
//! resumed run is another run.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::model::{CharModel, Weights};
use crate::tensor::Tensor;

const BETA1: f32 = 0.9;
const BETA2: f32 = 0.999;
const EPSILON: f32 = 1e-8;

/// The two moments of each weight.
#[derive(Debug)]
pub(crate) struct Adam {
    first: Weights,
    second: Weights,
}

impl Adam {
    /// Before the first step: all zero.
    pub(crate) fn new(model: &CharModel) -> Self {
        let mut zeros = model.weights().clone();
        for (_, moment) in zeros.named_mut() {
            moment.values_mut().fill(0.0);
        }
        Self { first: zeros.clone(), second: zeros }
    }

    /// Changes the weights by one step, which is number `step` from 1.
    pub(crate) fn step(
        &mut self,
        weights: &mut Weights,
        gradients: &Weights,
        rate: f32,
        step: u64,
    ) {
        let power = i32::try_from(step).unwrap_or(i32::MAX);
        let (scale1, scale2) = (1.0 - BETA1.powi(power), 1.0 - BETA2.powi(power));
        let moments = self.first.named_mut().into_iter().zip(self.second.named_mut());
        let weights = weights.named_mut().into_iter().zip(gradients.named());
        for (((_, weight), (_, gradient)), ((_, first), (_, second))) in weights.zip(moments) {
            let moments = first.values_mut().iter_mut().zip(second.values_mut());
            let values = weight.values_mut().iter_mut().zip(gradient.values());
            for ((value, gradient), (first, second)) in values.zip(moments) {
                *first = *first * BETA1 + gradient * (1.0 - BETA1);
                *second = *second * BETA2 + gradient * gradient * (1.0 - BETA2);
                let change = (*first / scale1) / ((*second / scale2).sqrt() + EPSILON);
                *value -= change * rate;
            }
        }
    }

    /// Adds the moments to what is saved.
    pub(crate) fn store<'a>(&'a self, tensors: &mut BTreeMap<String, &'a Tensor>) {
        for (prefix, moments) in [("first", &self.first), ("second", &self.second)] {
            let named = moments.named().into_iter();
            tensors.extend(named.map(|(name, moment)| (format!("{prefix}.{name}"), moment)));
        }
    }

    /// Finds the moments in what was saved.
    ///
    /// # Errors
    /// One that is missing or does not fit the model.
    pub(crate) fn restore(model: &CharModel, tensors: &BTreeMap<String, Tensor>) -> Result<Self> {
        let mut adam = Self::new(model);
        adam.first.set(|name| tensors.get(&format!("first.{name}")))?;
        adam.second.set(|name| tensors.get(&format!("second.{name}")))?;
        Ok(adam)
    }
}
