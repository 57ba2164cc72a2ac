// Which capability opens which door: the table of chapter 8, and the figure that lights parts of it.
//
// GIVEN and OTHERS are capabilities, without their CAP_; DOORS are what a system call refuses to a process that has none.
// `needs` names those of which any one is enough. A test tries every door with every capability alone in a kernel of its own.
// A door's `note` names a second lock. Only `start` touches the page.
//
// Left out: most of what SYS_ADMIN opens, and the 18 capabilities that are neither Docker's nor famous.
"use strict";

(() => {
    const GIVEN = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "SETUID", "SETGID", "SETPCAP", "SETFCAP", "KILL", "MKNOD",
        "SYS_CHROOT", "NET_BIND_SERVICE", "NET_RAW", "AUDIT_WRITE"];
    const OTHERS = ["DAC_READ_SEARCH", "SYS_ADMIN", "BPF", "NET_ADMIN", "SYS_PTRACE", "SYSLOG", "SYS_MODULE", "SYS_TIME",
        "SYS_BOOT"];
    const CAPABILITIES = [...GIVEN, ...OTHERS];

    const door = (id, words, needs, note = "") => ({ id, words, needs: needs.split(" "), note });
    const DOORS = [
        door("chown", "give a file to another user: chown", "CHOWN"),
        door("write", "write a file that its mode closes: open", "DAC_OVERRIDE"),
        door("read", "read a file that its mode closes: open", "DAC_OVERRIDE DAC_READ_SEARCH"),
        door("chmod", "change the mode of another's file: chmod", "FOWNER"),
        door("setid", "write to a set-user-id file that stays one", "FSETID"),
        door("setuid", "become another user: setuid", "SETUID"),
        door("setgroups", "join any group: setgroups", "SETGID"),
        door("bounding", "take a capability from the bounding set: prctl", "SETPCAP"),
        door("setfcap", "give a program capabilities: setxattr", "SETFCAP"),
        door("kill", "signal another user's process: kill", "KILL", "Only processes of one's own PID namespace can be named."),
        door("mknod", "make a device: mknod", "MKNOD", "Opening it is another door: the cgroup's list of devices."),
        door("chroot", "change the root: chroot", "SYS_CHROOT"),
        door("bind", "listen on port 80: bind", "NET_BIND_SERVICE",
            "Docker also sets net.ipv4.ip_unprivileged_port_start to 0 in a container's network namespace: there, every port "
            + "is free."),
        door("raw", "forge packets: socket(SOCK_RAW)", "NET_RAW"),
        door("audit", "write to the audit log: sendmsg", "AUDIT_WRITE"),
        door("handle", "open any file by its number: open_by_handle_at", "DAC_READ_SEARCH",
            "The number reaches files outside the container's root: that is how a container was left in 2014."),
        door("mount", "mount a file system: mount", "SYS_ADMIN"),
        door("setns", "enter a namespace: setns", "SYS_ADMIN"),
        door("hostname", "rename the machine: sethostname", "SYS_ADMIN", "It is the UTS namespace's name."),
        door("bpf", "run code in the kernel's hooks: bpf", "SYS_ADMIN BPF"),
        door("network", "set links, routes, firewall: ioctl, netlink", "NET_ADMIN", "Those of one's own network namespace."),
        door("ptrace", "take over another user's process: ptrace", "SYS_PTRACE"),
        door("syslog", "clear the kernel's log: syslog", "SYSLOG"),
        door("module", "load code into the kernel: init_module", "SYS_MODULE"),
        door("time", "set the machine's clock: clock_settime", "SYS_TIME"),
        door("reboot", "switch the machine off: reboot", "SYS_BOOT", "In a PID namespace of its own it ends that one only."),
    ];

    const isOpen = ({ needs }) => needs.some((name) => GIVEN.includes(name));
    const opens = (name) => DOORS.filter(({ needs }) => needs.includes(name));

    // What a choice lights: `{}` all, `{ capability }` its doors, `{ door }` its capabilities.
    function lit({ capability, door }) {
        const names = door ? DOORS.find(({ id }) => id === door).needs : capability ? [capability] : CAPABILITIES;
        const ids = door ? [door] : capability ? opens(capability).map(({ id }) => id) : DOORS.map(({ id }) => id);
        return { names, ids, chosen: Boolean(door || capability) };
    }

    const TOP = 34, DOOR = 24, CAPABILITY = 26, LEFT = 14, WIDTH = 168, RIGHT = 320, WIDE = 386;
    const GAP = DOORS.length * DOOR - CAPABILITIES.length * CAPABILITY;
    const capabilityAt = (name) => {
        const row = CAPABILITIES.indexOf(name);
        return TOP + row * CAPABILITY + (row < GIVEN.length ? 0 : GAP) + 11;
    };
    const doorAt = (id) => TOP + DOORS.findIndex((other) => other.id === id) * DOOR + 10;
    const text = (kind, x, y, words) => `<text class="fig-text ${kind}" x="${x}" y="${y}">${words}</text>`;
    const box = (kind, x, y, width) => `<rect class="fig-box ${kind}" x="${x}" y="${y - 10}" width="${width}" height="21" rx="3"/>`;

    function picture(choice) {
        const { names, ids, chosen } = lit(choice);
        const dim = (on) => on ? "" : " class=\"fig-dim\"";
        const lines = [text("fig-small fig-muted", LEFT, 20, "capabilities; filled: given by Docker"),
            text("fig-small fig-muted", RIGHT, 20, "doors; under Docker's default open or closed")];
        for (const { id, needs } of DOORS) {
            for (const name of needs) {
                const on = chosen && ids.includes(id) && names.includes(name);
                const [y, to] = [capabilityAt(name), doorAt(id)];
                const kind = on ? " fig-accent" : chosen ? " fig-dim" : "";
                lines.push(`<path class="fig-line${kind}" d="M${LEFT + WIDTH} ${y}C250 ${y} 250 ${to} ${RIGHT} ${to}"/>`);
            }
        }
        for (const name of CAPABILITIES) {
            const kind = GIVEN.includes(name) ? "fig-child fig-fill" : "";
            const y = capabilityAt(name);
            lines.push(`<g data-capability="${name}"${dim(names.includes(name))}>`, box(kind, LEFT, y, WIDTH),
                text("fig-mono", LEFT + 8, y + 5, name), "</g>");
        }
        for (const entry of DOORS) {
            const kind = isOpen(entry) ? "fig-ok" : "fig-wrong";
            const y = doorAt(entry.id);
            lines.push(`<g data-door="${entry.id}"${dim(ids.includes(entry.id))}>`,
                box(`${kind} ${isOpen(entry) ? "fig-fill" : "fig-dashed"}`, RIGHT, y, WIDE),
                text("fig-small", RIGHT + 8, y + 5, entry.words),
                text(`fig-small fig-end ${kind}`, RIGHT + WIDE - 8, y + 5, isOpen(entry) ? "open" : "closed"), "</g>");
        }
        return lines.join("\n");
    }

    function words({ capability, door }) {
        const full = (name) => `CAP_${name}`;
        if (door) {
            const entry = DOORS.find(({ id }) => id === door);
            return `To ${entry.words.split(":")[0]} takes ${entry.needs.map(full).join(" or ")}: `
                + `${isOpen(entry) ? "open" : "closed"} under Docker's default. ${entry.note}`;
        }
        if (!capability) return "Choose a capability or a door.";
        const doors = opens(capability).map((entry) => entry.words.split(":")[0]);
        const whose = GIVEN.includes(capability) ? "Docker gives it" : "Docker does not give it; --cap-add does";
        return `CAP_${capability} lets a process ${doors.join("; ")}. ${whose}.`;
    }

    function start(figure) {
        const controls = document.createElement("div");
        controls.className = "figure-controls";
        const said = document.createElement("p");
        said.className = "figure-words";
        said.setAttribute("role", "status");
        const select = (name, entries) => {
            const element = document.createElement("select");
            element.dataset.choose = name;
            element.append(...[["", "all"], ...entries].map(([value, shown]) => new Option(shown, value)));
            element.addEventListener("change", () => choose({ [name]: element.value }));
            const label = document.createElement("label");
            label.append(`${name} `, element);
            controls.append(label);
            return element;
        };
        const selects = {
            capability: select("capability", CAPABILITIES.map((name) => [name, name])),
            door: select("door", DOORS.map(({ id, words }) => [id, words.split(":")[0]])),
        };
        // The arrow keys choose; mdBook would turn the page.
        controls.addEventListener("keydown", (event) => event.stopPropagation());
        const drawing = figure.querySelector("#figure-capabilities-picture");
        drawing.addEventListener("click", (event) => {
            const part = event.target.closest("[data-capability], [data-door]");
            if (part) choose({ ...part.dataset });
        });
        figure.querySelector(".figure-scroll").after(controls, said);

        function choose(choice) {
            selects.capability.value = choice.capability ?? "";
            selects.door.value = choice.door ?? "";
            drawing.innerHTML = picture(choice);
            said.textContent = words(choice);
        }
        choose({});
    }

    globalThis.figures = { ...globalThis.figures, capabilities: { CAPABILITIES, DOORS, GIVEN, picture } };
    if (typeof document === "undefined" || document.location.pathname.endsWith("/print.html")) return;
    const figure = document.getElementById("figure-capabilities");
    if (figure) start(figure);
})();
