//! `book serve` as a reader's browser meets it: pages, live reload, and the last good build after a mistake.

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use book::site::Site;

/// The running server; it ends with the test.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(site: &Site) -> Server {
        let mut child = Command::new(env!("CARGO_BIN_EXE_book"))
            .args(["serve", "--port", "0"])
            .current_dir(&site.root)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("start the server");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let address = lines.find_map(|line| {
            let line = line.expect("a line");
            let address = line.strip_prefix("http://")?.split('/').next()?;
            Some(address.to_owned())
        });
        // Nobody reads the rest; a thread keeps the pipe from filling up.
        std::thread::spawn(move || lines.for_each(drop));
        Server { child, address: address.expect("the server tells its address") }
    }

    fn request(&self, path: &str) -> TcpStream {
        assert!(self.address.starts_with("127.0.0.1:"), "{}", self.address);
        let mut stream = TcpStream::connect(&self.address).expect("connect");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a limit");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.address).expect("ask");
        stream
    }

    fn get(&self, path: &str) -> String {
        let mut answer = String::new();
        self.request(path).read_to_string(&mut answer).expect("an answer");
        answer
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn it_reloads_and_keeps_the_last_good_build() {
    let site = common::demo("serve");
    let server = Server::start(&site);
    assert!(server.get("/").contains("A demo of every directive"));
    assert!(server.get("/01-harbour.html").contains("new EventSource"));
    assert!(server.get("/../../../course.toml").starts_with("HTTP/1.1 404"));
    assert!(!std::fs::read_to_string(site.out.join("index.html")).expect("a page").contains("EventSource"));

    let mut events =
        BufReader::new(server.request("/gantry-events")).lines().map(|line| line.expect("a line"));
    assert!(events.any(|line| line.is_empty()), "the head of the answer");
    let page = site.src().join("00-outside.md");
    let good = std::fs::read_to_string(&page).expect("read the page");

    std::fs::write(&page, format!("{good}\n{{{{#figure nowhere}}}}\n")).expect("break the page");
    assert!(events.any(|line| line == "event: broken"));
    let what = events.next().expect("the reason");
    assert!(what.contains("00-outside.md:11: there is no figure `nowhere`"), "{what}");
    assert!(server.get("/00-outside.html").contains("The gap"), "the last good build is gone");

    std::fs::write(&page, good.replace("builds nothing", "builds not a thing")).expect("mend the page");
    assert!(events.any(|line| line == "event: reload"));
    assert!(server.get("/00-outside.html").contains("builds not a thing"));
}
