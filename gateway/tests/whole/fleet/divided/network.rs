//! Two sides of a network, each a namespace of its own, and this process as the router between them.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use turnpike_loadtest::{FakeProvider, Options};

/// Whoever runs becomes root of a user namespace, and of nothing else.
const APART: [&str; 6] = [
    "--user",
    "--map-root-user",
    "--net",
    "--mount",
    "--kill-child",
    "--",
];

/// What a router needs to be let do.
const ALLOWED: &str = "ip link set lo up && ip link add one-end type veth peer name other-end \
    && mount -t tmpfs none /run && echo 1 > /proc/sys/net/ipv4/ip_forward";

/// `ip` is where not everybody looks for it.
fn apart(program: &Path) -> Command {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new("unshare");
    command.args(APART).arg(program);
    command.env("PATH", format!("{path}:/usr/sbin:/sbin"));
    command
}

/// Set where a test that cannot run is a failure, and is not skipped. The gateway takes no variable of
/// this prefix for a setting.
const NO_SKIP: &str = "TURNPIKE_TEST_NO_SKIP";

/// Runs an ignored test of this binary as a process with networks of its own.
pub(super) fn apart_from_the_machine(test: &str) {
    let allowed = apart("sh".as_ref()).args(["-c", ALLOWED]).output();
    let refused = match allowed {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Some(error.to_string()),
    };
    if let Some(why) = refused {
        let lacks = format!("no network namespaces here: {why}");
        assert!(
            std::env::var_os(NO_SKIP).is_none(),
            "{test} cannot run, and {NO_SKIP} is set: {lacks}; allow this user what \
             `unshare --user --map-root-user --net` does, or unset {NO_SKIP} to skip it"
        );
        // Past what a test's output is captured by.
        let told = format!("\n{test} was SKIPPED: {lacks}\n");
        let _ = std::io::stderr().write_all(told.as_bytes());
        return;
    }
    let output = apart(&std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let told = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    println!("{}{}", told(&output.stdout), told(&output.stderr));
    assert!(output.status.success(), "it failed: {}", output.status);
    let ran = told(&output.stdout).contains("1 passed");
    assert!(ran, "there is no test {test}");
}

pub(super) struct Network {
    pub(super) left: Side,
    pub(super) right: Side,
}

impl Network {
    /// In a process [apart](apart_from_the_machine).
    pub(super) fn lay() -> Self {
        run("mount -t tmpfs none /run && mkdir /run/netns && ip link set lo up");
        let network = Self {
            left: Side::lay("left", 1),
            right: Side::lay("right", 2),
        };
        network.forward(true);
        network
    }

    /// Nothing that one side sends comes to the other, and nobody is told.
    pub(super) fn cut(&self) {
        self.forward(false);
    }

    pub(super) fn mend(&self) {
        self.forward(true);
    }

    fn forward(&self, is_whole: bool) {
        let is_whole = if is_whole { "1" } else { "0" };
        std::fs::write("/proc/sys/net/ipv4/ip_forward", is_whole).unwrap();
    }
}

/// This process reaches its servers whether the sides reach each other or not.
pub(super) struct Side {
    /// The namespace.
    pub(super) place: PathBuf,
    /// Of everybody there.
    pub(super) address: Ipv4Addr,
    /// A provider of its own, on its loopback.
    pub(super) provider: FakeProvider,
}

/// Of the provider of each side.
pub(super) const PROVIDER: u16 = 9001;

impl Side {
    fn lay(name: &str, number: u8) -> Self {
        let address = Ipv4Addr::new(10, 77, number, 2);
        let router = Ipv4Addr::new(10, 77, number, 1);
        run(&format!(
            "ip netns add {name}
             ip link add to-{name} type veth peer name eth0 netns {name}
             ip address add {router}/24 dev to-{name}
             ip link set to-{name} up
             ip -n {name} address add {address}/24 dev eth0
             ip -n {name} link set eth0 up
             ip -n {name} link set lo up
             ip -n {name} route add default via {router}"
        ));
        let place = PathBuf::from(format!("/run/netns/{name}"));
        let runtime = Handle::current();
        let options = Options {
            port: PROVIDER,
            ..Options::default()
        };
        let provider = within(&place, move || {
            runtime.block_on(FakeProvider::start(options))
        });
        Self {
            place,
            address,
            provider,
        }
    }

    /// Connects to what listens on a side's loopback.
    pub(super) fn connect(place: &Path, to: SocketAddr) -> TcpStream {
        let stream = within(place, move || std::net::TcpStream::connect(to).unwrap());
        stream.set_nonblocking(true).unwrap();
        TcpStream::from_std(stream).unwrap()
    }
}

/// A socket is of the namespace that it was made in, wherever it is used.
fn within<T: Send>(place: &Path, make: impl FnOnce() -> T + Send) -> T {
    let make = || {
        let place = std::fs::File::open(place).unwrap();
        let network = Some(LinkNameSpaceType::Network);
        move_into_link_name_space(std::os::fd::AsFd::as_fd(&place), network).unwrap();
        make()
    };
    std::thread::scope(|scope| scope.spawn(make).join().unwrap())
}

fn run(script: &str) {
    let status = Command::new("sh").args(["-ec", script]).status();
    assert!(status.unwrap().success(), "{script}");
}
