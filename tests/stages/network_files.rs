//! Stage 5: the files that tell a container who and where it is, and what is said to who has no right.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::network::on;
use super::network_world::who_has_no_right_is_connected_by_a_helper;
use super::user::{become_ordinary, ordinary_id, own_demo};
use crate::stage::case::{Case, Run, write};
use crate::stage::verdict::{Trouble, Verdict, same};

pub fn files_say_who_the_container_is(case: &Case) -> Verdict {
    let show = "cat /etc/hostname; cat /etc/hosts; cat /etc/resolv.conf";
    let flags = ["--hostname", "harbour", "--add-host", "quay:192.0.2.7", "--add-host", "pier:[2001:db8::7]"];
    let run = on(case, "none", &flags, show)?;
    run.code_is(0)?
        .claim(run.out.starts_with("harbour\n127.0.0.1\tlocalhost\n"), "its name, then loopback's")?;
    run.out_has("::1\tlocalhost")?.out_has("192.0.2.7\tquay")?.out_has("2001:db8::7\tpier")?;
    let run = on(case, "none", &["--add-host", "quay"], "true")?;
    run.code_is(125)?.err_has("NAME:IP")?.err_is_one_line()?;
    // Who shares the host's network is called what the host is, and asks whom the host asks.
    let resolv = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    on(case, "host", &[], "cat /etc/resolv.conf")?.code_is(0)?.out_is(&resolv)?;
    // Every user of the container reads them.
    on(case, "none", &[], "stat -c %a /etc/hosts /etc/hostname /etc/resolv.conf")?.out_is("644\n644\n644")?;
    Ok(())
}

pub fn files_of_the_image_are_left_alone(case: &Case) -> Verdict {
    let etc = case.demo().join("etc");
    write(&etc.join("hosts"), "of the image\n")?;
    write(&case.demo().join("srv/resolv"), "of the image, elsewhere\n")?;
    let resolv = etc.join("resolv.conf");
    let _ = fs::remove_file(&resolv);
    symlink("../srv/resolv", &resolv)?;
    let run = on(
        case,
        "none",
        &["--add-host", "quay:192.0.2.7"],
        "cat /etc/hosts; echo more >> /etc/hosts; cat /etc/resolv.conf; ls /etc",
    )?;
    run.code_is(0)?.out_has("192.0.2.7\tquay")?.out_lacks("of the image")?.out_has("passwd")?;
    same("the image's own /etc/hosts", "of the image\n".to_owned(), fs::read_to_string(etc.join("hosts"))?)?;
    same(
        "the file behind its link",
        "of the image, elsewhere\n".to_owned(),
        fs::read_to_string(case.demo().join("srv/resolv"))?,
    )?;
    // Images of machines with systemd: the link leads nowhere.
    fs::remove_file(&resolv)?;
    symlink("../run/systemd/resolve/stub-resolv.conf", &resolv)?;
    on(case, "host", &[], "cat /etc/resolv.conf && echo there")?.code_is(0)?.out_has("there")?;
    hostile_links(case)?;
    // What covers /etc for a moment is gone, and what it leaves holds data only.
    let of_hosts = "grep ' /etc/hosts ' /proc/self/mountinfo";
    on(case, "none", &[], of_hosts)?.out_has("nosuid,nodev,noexec")?.out_has("size=1024k")?;
    let run = on(case, "none", &["--read-only"], "mount | grep ' on /etc '; touch /etc/new; cat /etc/hosts")?;
    run.code_is(0)?.out_lacks(" on /etc ")?.err_has("Read-only")?.out_has("localhost")?;
    Ok(())
}

fn hostile_links(case: &Case) -> Verdict {
    let resolv = case.demo().join("etc/resolv.conf");
    // A hostile image: a link out of the root, to a file that exists there.
    write(Path::new("/tmp/outside"), "of the host\n")?;
    fs::remove_file(&resolv)?;
    symlink("/../../../../../../tmp/outside", &resolv)?;
    on(case, "none", &[], "cat /etc/resolv.conf")?.out_lacks("of the host")?;
    same("a file outside the root", "of the host\n".to_owned(), fs::read_to_string("/tmp/outside")?)?;
    // Nor into the kernel's files: whatever writes there later would believe that the kernel heard it.
    fs::remove_file(&resolv)?;
    symlink("/proc/self/attr/exec", &resolv)?;
    on(case, "none", &[], "true")?.code_is(125)?.err_has("/proc")?.err_is_one_line()?;
    Ok(fs::remove_file(&resolv)?)
}

pub fn who_has_no_right_gets_a_clear_word(case: &Case) -> Verdict {
    let ordinary = |flags: &[&str]| -> Result<Run, Trouble> {
        let words = [&["run", "--rootfs", "demo"], flags, &["--", "probe", "links"]].concat();
        own_demo(case, ordinary_id(case))?;
        let change = |command: &mut std::process::Command| {
            command.env("PATH", "/nowhere");
            become_ordinary(case, command, &[]);
        };
        case.start_with(&words, change)?.wait()
    };
    let run = ordinary(&[])?;
    run.code_is(0)?.claim(run.out.starts_with("lo up"), "without a helper, loopback only")?;
    run.err_has("package `passt`")?.err_has("--network none")?.err_is_one_line()?;
    let silent = ordinary(&["--network", "none"])?;
    silent.code_is(0)?.claim(silent.err.is_empty(), "who asks for no network hears nothing about it")?;
    ordinary(&["-p", "8080:80"])?.code_is(125)?.err_has("package `passt`")?.err_is_one_line()?;
    ordinary(&["--network", "bridge"])?
        .code_is(125)?
        .err_has("--network bridge: it takes CAP_NET_ADMIN")?
        .err_is_one_line()?;
    who_has_no_right_is_connected_by_a_helper(case)
}
