//! What a network costs: attaching and removing an endpoint, the throughput of its path, and a birth with every
//! namespace.
//!
//! Everything happens in namespaces of its own: this process plays the host, others the outside and the containers.
//! The throughput's peer is the same path built by `ip` and `nft`, one rule for each thing, in namespaces beside ours.
//!
//! `cargo bench -p network` prints medians and ratios, and fails where a promise is not kept.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::thread;
use std::time::{Duration, Instant};

use mount::MountNamespace;
use network::allocation::Wish;
use network::alone::Alone;
use network::member::{DEFAULT, Member};
use network::namespace::in_namespace;
use network::netlink::Socket;
use network::store;
use network::{Lease, Network, Store, bridge, endpoint, link};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use process::exit::Exit;
use process::pid::PidNamespace;
use process::{Child, Isolation, Program, spawn};
use user::{Maps, Range, UserNamespace};
use uts_ipc::{IpcNamespace, UtsNamespace};

/// How many containers are connected at once.
const CONTAINERS: usize = 100;

/// How often.
const ROUNDS: usize = 3;

/// The rest before each: work that the kernel puts off must not be hidden.
const REST: Duration = Duration::from_millis(50);

fn main() -> ExitCode {
    if !std::env::args().any(|word| word == "--bench") {
        return ExitCode::SUCCESS;
    }
    become_host();
    let mut kept = births();
    kept &= endpoints();
    kept &= throughput();
    ExitCode::from(u8::from(!kept))
}

/// A network, mount and, for an ordinary user, user namespace of our own.
fn become_host() {
    let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
    if !uid.is_root() {
        unshare(CloneFlags::CLONE_NEWUSER).expect("a user namespace");
        std::fs::write("/proc/self/setgroups", "deny").expect("setgroups");
        std::fs::write("/proc/self/uid_map", format!("0 {uid} 1")).expect("uid_map");
        std::fs::write("/proc/self/gid_map", format!("0 {gid} 1")).expect("gid_map");
    }
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).expect("namespaces");
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .expect("private mounts");
    Socket::route().and_then(|mut route| route.send(&[link::up("lo")])).expect("lo");
}

/// Prints whether a promise is kept.
fn promise(what: &str, measured: f64, most: f64, unit: &str) -> bool {
    let kept = measured <= most;
    println!(
        "{what:<58} {measured:>7.2}{unit} (at most {most}{unit}){}",
        if kept { "" } else { "  NOT KEPT" }
    );
    kept
}

fn median(times: &[f64]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

fn milliseconds(work: impl FnOnce()) -> f64 {
    thread::sleep(REST);
    let begin = Instant::now();
    work();
    begin.elapsed().as_secs_f64() * 1e3
}

/// A birth with every namespace against a bare clone3 and exec with the same flags, by turns.
fn births() -> bool {
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for round in 0..105 {
        let (one, other) = (milliseconds(our_birth), milliseconds(bare_birth));
        if round >= 5 {
            ours.push(one);
            bare.push(other);
        }
    }
    let (ours, bare) = (median(&ours), median(&bare));
    println!("birth with all namespaces {ours:.2} ms, bare clone3 and exec {bare:.2} ms");
    promise("birth with all namespaces, as a multiple of the bare one", ours / bare, 1.5, "")
}

fn our_birth() {
    let program = Program {
        command: vec!["/bin/true".into()],
        environment: vec![("PATH".into(), "/bin".into())],
        workdir: "/".into(),
        ..Program::default()
    };
    let own = vec![Range { inside: 0, outside: 0, count: 1 }];
    let mut all: [Box<dyn Isolation>; 6] = [
        Box::new(PidNamespace),
        Box::new(UserNamespace { maps: Maps { uids: own.clone(), gids: own } }),
        Box::new(MountNamespace::default()),
        Box::new(UtsNamespace { hostname: None, domainname: None }),
        Box::new(IpcNamespace { files: None }),
        Box::new(Alone),
    ];
    let child = spawn(&program, &mut all).expect("it starts");
    assert_eq!(child.wait(), Ok(Exit::Status(0)));
}

fn bare_birth() {
    let flags = libc::CLONE_NEWPID
        | libc::CLONE_NEWUSER
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWNET;
    // struct clone_args: flags, pidfd, child_tid, parent_tid, exit_signal, ...
    let mut arguments = [0u64; 11];
    arguments[0] = flags as u64;
    arguments[4] = libc::SIGCHLD as u64;
    // SAFETY: the arguments outlive the call; the child, a copy with its own memory, makes system calls only.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of_val(&arguments)) };
    if pid == 0 {
        let (words, variables) =
            ([c"/bin/true".as_ptr(), std::ptr::null()], [c"PATH=/bin".as_ptr(), std::ptr::null()]);
        // SAFETY: constants that end as they must; nothing runs after `_exit`.
        unsafe {
            libc::execve(words[0], words.as_ptr(), variables.as_ptr());
            libc::_exit(127);
        }
    }
    let mut status = 0;
    // SAFETY: `status` outlives the call.
    unsafe { libc::waitpid(pid as i32, &raw mut status, 0) };
    assert_eq!(status, 0, "the bare child failed");
}

/// A folder for the state in memory, as /run is; gone when dropped.
struct State(PathBuf);

impl State {
    fn new() -> State {
        let path = std::env::temp_dir().join(format!("gantry-bench-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder");
        mount(Some("none"), &path, Some("tmpfs"), MsFlags::empty(), None::<&str>).expect("a tmpfs");
        State(path)
    }

    fn network(&self, name: &str, subnet: &str) -> (Store, Network) {
        let store = Store::open(&self.0).expect("a store");
        let wish = store::Wish {
            name: name.to_owned(),
            subnet4: Some(subnet.parse().expect("a subnet")),
            ..store::Wish::default()
        };
        let network = store.create(&wish, &[]).expect("a network");
        bridge::ensure(&network).expect("a bridge");
        (store, network)
    }
}

impl Drop for State {
    fn drop(&mut self) {
        let _ = nix::mount::umount(&self.0);
        let _ = std::fs::remove_dir(&self.0);
    }
}

/// What a runner does in `prepare` and `outside`, without the process: its place, cable and port.
fn connect(store: &Store, network: &Network, port: u16, netns: &File) -> Lease {
    let held = store.lock(&network.name).expect("the lock");
    bridge::ensure(network).expect("the bridge");
    let ports = vec![format!("{port}:80").parse().expect("a port")];
    let lease = held.allocate(&Wish { ports, ..Wish::default() }).expect("an address");
    endpoint::attach(network, &lease, 1500, netns.as_fd()).expect("attach");
    endpoint::publish(&lease).expect("publish");
    lease
}

fn disconnect(store: &Store, network: &Network, lease: &Lease) {
    endpoint::detach(lease).expect("detach");
    store.lock(&network.name).and_then(|held| held.release(lease)).expect("release");
}

/// A network namespace that lives as long as its handle.
fn namespace() -> File {
    let make = || {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace");
        File::open("/proc/thread-self/ns/net").expect("its handle")
    };
    thread::spawn(make).join().expect("a thread")
}

/// A hundred containers, each with a published port, started and ended one after the other.
fn endpoints() -> bool {
    let state = State::new();
    let (store, network) = state.network(DEFAULT, "10.78.0.0/23");
    let (mut attached, mut detached) = (Vec::new(), Vec::new());
    for port in 20_000..20_020 {
        let netns = namespace();
        let mut lease = None;
        attached.push(milliseconds(|| lease = Some(connect(&store, &network, port, &netns))));
        // As after a container's end: its namespace goes first.
        drop(netns);
        let lease = lease.expect("connected");
        detached.push(milliseconds(|| disconnect(&store, &network, &lease)));
    }
    let (mut starts, mut ends) = (Edges::default(), Edges::default());
    for round in 0..ROUNDS {
        let (mut running, mut started, mut ended) = (Vec::new(), Vec::new(), Vec::new());
        for number in 0..CONTAINERS {
            let mut container = None;
            let port = 21_000 + (round * CONTAINERS + number) as u16;
            started.push(milliseconds(|| container = Some(start(&store, port))));
            running.push(container.expect("started"));
        }
        while let Some((child, member)) = running.pop() {
            child.signal(libc::SIGKILL).expect("kill");
            child.wait().expect("wait");
            ended.push(milliseconds(|| drop(member)));
        }
        starts.take(started);
        // In the other order: the last one of them to end is alone.
        ended.reverse();
        ends.take(ended);
    }
    println!("a container with all of it starts in {:.2} ms", median(&starts.first));
    let mut kept = promise("attach: NAT and a published port, median", median(&attached), 15.0, " ms");
    kept &= promise("detach, median", median(&detached), 15.0, " ms");
    kept &= promise("start: last ten of a hundred, by the first ten", starts.ratio(), 1.3, "");
    kept &= promise("end: with ninety neighbours, by alone", ends.ratio(), 1.3, "");
    bridge::remove(&network).expect("remove the bridge");
    kept
}

/// The first and the last tens of some hundreds.
#[derive(Default)]
struct Edges {
    first: Vec<f64>,
    last: Vec<f64>,
}

impl Edges {
    fn take(&mut self, times: Vec<f64>) {
        let tenth = times.len() / 10;
        self.first.extend(&times[..tenth]);
        self.last.extend(&times[times.len() - tenth..]);
    }

    fn ratio(&self) -> f64 {
        median(&self.last) / median(&self.first)
    }
}

/// A container with every namespace and a published port, that does nothing.
fn start(store: &Store, port: u16) -> (Child, Vec<Box<dyn Isolation>>) {
    let program = Program {
        command: vec!["/bin/sleep".into(), "1000".into()],
        environment: vec![("PATH".into(), "/bin".into())],
        workdir: "/".into(),
        ..Program::default()
    };
    let ports = network::port::wishes(&format!("{port}:80")).expect("a port");
    let mut all: Vec<Box<dyn Isolation>> = vec![
        Box::new(PidNamespace),
        Box::new(MountNamespace::default()),
        Box::new(UtsNamespace { hostname: None, domainname: None }),
        Box::new(IpcNamespace { files: None }),
        Box::new(Member::new(store.clone(), DEFAULT.to_owned(), Wish::default(), ports, None)),
    ];
    (spawn(&program, &mut all).expect("it starts"), all)
}

/// Bytes a second, in GiB, that a client outside sends to a server in a container by the host's published port.
fn rate(outside: &File, inside: &File, to: SocketAddr) -> f64 {
    let listener =
        in_namespace(inside.as_fd(), || Ok(TcpListener::bind((Ipv4Addr::UNSPECIFIED, 80)).expect("listen")));
    let listener = listener.expect("the container");
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("accept");
        let (mut bytes, mut total, begin) = (vec![0; 1 << 18], 0_u64, Instant::now());
        while let Ok(length) = stream.read(&mut bytes) {
            if length == 0 {
                break;
            }
            total += length as u64;
        }
        total as f64 / begin.elapsed().as_secs_f64() / f64::from(1 << 30)
    });
    let client = in_namespace(outside.as_fd(), || {
        let mut stream = TcpStream::connect(to).expect("connect");
        let (bytes, begin) = (vec![0; 1 << 18], Instant::now());
        while begin.elapsed() < Duration::from_millis(700) {
            stream.write_all(&bytes).expect("send");
        }
        Ok(())
    });
    client.expect("the client");
    server.join().expect("the server")
}

/// Runs `ip` or `nft` in this namespace.
fn tool(line: &str) {
    let mut words = line.split(' ');
    let done = Command::new(words.next().expect("a program")).args(words).status();
    assert!(done.is_ok_and(|status| status.success()), "{line}");
}

/// The outside at the end of a cable, built by `ip`: 203.0.NET.1, the host 203.0.NET.2.
fn outside(net: u8) -> File {
    let far = namespace();
    let (fd, pid) = (far.as_raw_fd(), std::process::id());
    tool(&format!("ip link add wan{net} type veth peer name eth0 netns /proc/{pid}/fd/{fd}"));
    tool(&format!("ip addr add 203.0.{net}.2/24 dev wan{net}"));
    tool(&format!("ip link set wan{net} up"));
    let furnish = || {
        tool(&format!("ip addr add 203.0.{net}.1/24 dev eth0"));
        tool("ip link set eth0 up");
        Ok(())
    };
    in_namespace(far.as_fd(), furnish).expect("the outside");
    far
}

/// The peer: a bridge, a pair, and rules for this one container, by hand.
fn by_tools(container: &File) {
    let (fd, pid) = (container.as_raw_fd(), std::process::id());
    tool("ip link add peer0 type bridge");
    tool("ip addr add 10.79.0.1/24 dev peer0");
    tool("ip link set peer0 up");
    tool(&format!("ip link add far0 type veth peer name eth0 netns /proc/{pid}/fd/{fd}"));
    tool("ip link set far0 master peer0 up");
    let furnish = || {
        tool("ip addr add 10.79.0.2/24 dev eth0");
        tool("ip link set eth0 up");
        tool("ip route add default via 10.79.0.1");
        Ok(())
    };
    in_namespace(container.as_fd(), furnish).expect("the container");
    tool("nft add table ip peer");
    tool("nft add chain ip peer pre { type nat hook prerouting priority -100 ; }");
    tool("nft add chain ip peer post { type nat hook postrouting priority 100 ; }");
    tool("nft add rule ip peer pre ip daddr 203.0.51.2 tcp dport 8081 dnat to 10.79.0.2:80");
    tool("nft add rule ip peer post ip saddr 10.79.0.0/24 oifname != peer0 masquerade");
}

fn throughput() -> bool {
    let has = |name: &str| {
        ["/usr/sbin", "/sbin", "/usr/bin"].iter().any(|folder| Path::new(folder).join(name).exists())
    };
    if !has("ip") || !has("nft") {
        println!("throughput: not measured, its peer needs `ip` and `nft`");
        return true;
    }
    let state = State::new();
    let (store, network) = state.network("flow", "10.80.0.0/24");
    let (ours, theirs) = (namespace(), namespace());
    let (our_outside, their_outside) = (outside(50), outside(51));
    let lease = connect(&store, &network, 8080, &ours);
    by_tools(&theirs);
    let (mut our_rates, mut their_rates) = (Vec::new(), Vec::new());
    let (us, them) = ((Ipv4Addr::new(203, 0, 50, 2), 8080), (Ipv4Addr::new(203, 0, 51, 2), 8081));
    for round in 0..20 {
        // Who comes first changes: if that matters, it matters to both.
        if round % 2 == 0 {
            our_rates.push(rate(&our_outside, &ours, us.into()));
            their_rates.push(rate(&their_outside, &theirs, them.into()));
        } else {
            their_rates.push(rate(&their_outside, &theirs, them.into()));
            our_rates.push(rate(&our_outside, &ours, us.into()));
        }
    }
    let (our_rate, their_rate) = (median(&our_rates), median(&their_rates));
    println!("throughput by a published port {our_rate:.2} GiB/s, by `ip` and `nft` {their_rate:.2} GiB/s");
    disconnect(&store, &network, &lease);
    promise("the peer's throughput, as a multiple of ours", their_rate / our_rate, 1.0 / 0.95, "")
}
