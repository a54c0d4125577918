//! Machines that reach each other over a wire of their own: network namespaces.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};

/// Two machines and a wire between them. They end when dropped.
pub struct TwoMachines {
    names: [String; 2],
    net: u32,
}

impl TwoMachines {
    /// Two new ones.
    ///
    /// # Errors
    /// This process may not make any, or there is no `ip`.
    pub fn new() -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let id = format!("{}-{number}", std::process::id());
        let machines =
            Self { names: [format!("sw-a-{id}"), format!("sw-b-{id}")], net: number % 250 };
        let [a, b] = &machines.names;
        for name in [a, b] {
            ip(&["netns", "add", name])?;
            ip(&["-n", name, "link", "set", "lo", "up"])?;
        }
        let [end_a, end_b] = ["wire-a", "wire-b"];
        ip(&["-n", a, "link", "add", end_a, "type", "veth", "peer", "name", end_b, "netns", b])?;
        for (machine, end) in [(0, end_a), (1, end_b)] {
            let address = format!("{}/24", machines.address(machine));
            let name = &machines.names[machine];
            ip(&["-n", name, "address", "add", &address, "dev", end])?;
            ip(&["-n", name, "link", "set", end, "up"])?;
        }
        Ok(machines)
    }

    /// The address of machine 0 or 1.
    pub fn address(&self, machine: usize) -> String {
        format!("10.77.{}.{}", self.net, machine + 1)
    }

    /// The same program, on machine 0 or 1.
    pub fn on(&self, machine: usize, command: &Command) -> Command {
        let mut there = Command::new("ip");
        there.args(["netns", "exec", &self.names[machine]]);
        there.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => there.env(name, value),
                None => there.env_remove(name),
            };
        }
        there
    }
}

impl Drop for TwoMachines {
    fn drop(&mut self) {
        for name in &self.names {
            let _ = ip(&["netns", "delete", name]);
        }
    }
}

fn ip(arguments: &[&str]) -> Result<()> {
    let output = Command::new("ip").args(arguments).output().context("there is no `ip`")?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "ip {}: {said}", arguments.join(" "));
    Ok(())
}
