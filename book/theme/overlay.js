// The overlay explorer of chapter 7: what each operation leaves in upper, and what it makes of the merged view.
//
// A state is two trees, `lower` and `upper`, each a map from path to node; the merged view follows from them
// (`look`). `step` is the rule: state and action in, new state out. A test compares it with a real overlay mount
// (redirect_dir, metacopy, index and xino off), operation by operation. Only `start` touches the page.
//
// Left out: owners, modes and times, hard links, more than one lower.
"use strict";

(() => {
    const file = (text) => ({ kind: "file", text }), folder = { kind: "folder" }, whiteout = { kind: "whiteout" };
    const START = {
        lower: { docs: folder, "docs/guide": file("old"), "docs/index": file("old"), motd: file("old") },
        upper: { log: file("mine") },
    };
    const PATHS = ["motd", "log", "new", "docs", "docs/guide", "docs/index", "docs/new"];

    const parent = (path) => path.includes("/") ? path.slice(0, path.lastIndexOf("/")) : "";
    const parents = (path) => path === "" || parent(path) === "" ? [] : [...parents(parent(path)), parent(path)];
    const inside = (path, top) => path.startsWith(top + "/");

    // What of lower shows through at `path`, if upper has nothing there: nothing below an opaque folder or a whiteout.
    function below({ lower, upper }, path) {
        const through = (above) => lower[above]?.kind === "folder"
            && (!upper[above] || upper[above].kind === "folder" && !upper[above].opaque);
        return parents(path).every(through) ? lower[path] : undefined;
    }

    // What the merged view has at `path`.
    function look(state, path) {
        const above = state.upper[path];
        if (!above) return below(state, path);
        return above.kind === "whiteout" ? undefined : above;
    }

    const everything = ({ lower, upper }) => [...new Set([...Object.keys(lower), ...Object.keys(upper)])].sort();
    // That a folder is opaque shows in upper only.
    const merged = (state) => Object.fromEntries(everything(state)
        .map((path) => [path, look(state, path)]).filter(([, node]) => node)
        .map(([path, node]) => [path, node.opaque ? folder : node]));
    const isMerged = (state, path) => path === ""
        || look(state, path)?.kind === "folder" && below(state, path)?.kind === "folder" && !state.upper[path]?.opaque;

    // Why the way to `path` cannot be walked.
    function wayError(state, path) {
        const stop = parents(path).find((above) => look(state, above)?.kind !== "folder");
        if (stop === undefined) return undefined;
        return look(state, stop) ? "ENOTDIR" : "ENOENT";
    }

    // The folders above `path` that upper lacks come up with it: empty, and not opaque.
    function copyUpParents({ upper }, path) {
        const missing = parents(path).filter((above) => !upper[above]);
        missing.forEach((above) => { upper[above] = folder; });
        if (missing.length === 0) return "";
        return ` First the folder ${missing.at(-1)} is copied up: an empty one, which is merged with the one below.`;
    }

    function removeUpper({ upper }, path) {
        Object.keys(upper).filter((other) => other === path || inside(other, path)).forEach((gone) => { delete upper[gone]; });
    }

    const RULES = {
        read(state, path) {
            const node = look(state, path);
            if (!node) return { error: "ENOENT" };
            if (node.kind === "folder") return { error: "EISDIR" };
            return { says: `It is read from ${state.upper[path] ? "upper" : "lower"}. Reading changes nothing.` };
        },

        write(state, path) {
            return put(state, path, () => "new", "Copy-up: upper gets a file of this name, owner and mode. Its content is about "
                + "to be thrown away, so none is copied. Lower keeps the old one; nobody sees it any more.");
        },

        append(state, path) {
            return put(state, path, (text) => text + "+", "Copy-up: the whole file is copied to upper, be it one byte or a gigabyte, "
                + "and then the copy is written to.");
        },

        remove(state, path) {
            if (!look(state, path)) return { error: "ENOENT" };
            const hides = below(state, path);
            const up = hides ? copyUpParents(state, path) : "";
            removeUpper(state, path);
            if (!hides) return { says: "Lower has nothing of this name, so it goes from upper, and nothing stays." };
            state.upper[path] = whiteout;
            return { says: "Lower cannot be changed, so upper notes that the name is gone: a whiteout, a character device 0/0. "
                + "One hides a whole folder." + up };
        },

        mkdir(state, path) {
            if (look(state, path)) return { error: "EEXIST" };
            const over = state.upper[path]?.kind === "whiteout";
            const up = copyUpParents(state, path);
            state.upper[path] = over ? { kind: "folder", opaque: true } : folder;
            return { says: (over ? "The folder takes the whiteout's place. It is marked opaque (an xattr), or what lies in "
                + "lower would show through it again." : "Lower has nothing of this name: an ordinary folder in upper.") + up };
        },

        rename(state, from, to) {
            const error = renameError(state, from, to);
            return error ? { error } : move(state, from, to);
        },
    };

    // Writing to a file; `content` makes the new text of the old.
    function put(state, path, content, copied) {
        const node = look(state, path);
        if (node?.kind === "folder") return { error: "EISDIR" };
        const kept = state.upper[path];
        const up = copyUpParents(state, path);
        state.upper[path] = file(content(node?.text ?? ""));
        if (node) return { says: (kept ? "The file is in upper already: it is written in place." : copied) + up };
        return { says: (kept ? "The new file takes the whiteout's place." : "A new file: it is made in upper.") + up };
    }

    // In the order in which the kernel looks.
    function renameError(state, from, to) {
        const [old, target] = [look(state, from), look(state, to)];
        if (wayError(state, to)) return wayError(state, to);
        if (!old) return "ENOENT";
        if (inside(to, from)) return "EINVAL";
        if (inside(from, to)) return "ENOTEMPTY";
        if (target && old.kind === "folder" && target.kind !== "folder") return "ENOTDIR";
        if (target && old.kind !== "folder" && target.kind === "folder") return "EISDIR";
        if (old.kind === "folder" && (!state.upper[from] || isMerged(state, from))) return "EXDEV";
        if (target?.kind === "folder" && Object.keys(merged(state)).some((path) => inside(path, to))) return "ENOTEMPTY";
        return undefined;
    }

    function move(state, from, to) {
        const hides = below(state, from);
        const up = copyUpParents(state, from) + copyUpParents(state, to);
        const subtree = Object.entries({ [from]: look(state, from), ...state.upper })
            .filter(([path]) => path === from || inside(path, from))
            .map(([path, node]) => [to + path.slice(from.length), node]);
        const copied = !state.upper[from];
        removeUpper(state, from);
        removeUpper(state, to);
        Object.assign(state.upper, Object.fromEntries(subtree));
        const isFolder = state.upper[to].kind === "folder";
        if (isFolder && isMerged(state, parent(to))) state.upper[to] = { kind: "folder", opaque: true };
        if (hides) state.upper[from] = whiteout;
        return { says: (copied ? "Copy-up, and then the copy is renamed in upper." : "Upper renames it.")
            + (state.upper[to].opaque ? " The folder is opaque: nothing of lower may show through under its new name." : "")
            + (hides ? " A whiteout takes its old place, since lower still has the old name." : "") + up };
    }

    const ERRORS = {
        ENOENT: "no such file or folder", EISDIR: "it is a folder",
        ENOTDIR: "a part of the way is no folder, or the two are not of a kind",
        EEXIST: "the name is taken", EINVAL: "a folder cannot move into itself", ENOTEMPTY: "the target is not empty",
        EXDEV: "overlay does not rename a folder of lower, since all of it would have to be copied up. Programs like mv see this "
            + "error and copy by themselves",
    };

    // One operation: the new state, the error's name if it fails, and what happened, in words.
    function step(state, { kind, path, to }) {
        const next = { lower: state.lower, upper: { ...state.upper } };
        const error = wayError(state, path);
        const done = error ? { error } : RULES[kind](next, path, to);
        if (done.error) return { state, error: done.error, says: `${done.error}: ${ERRORS[done.error]}. Nothing changes.` };
        return { state: next, error: "", says: done.says };
    }

    const ACTIONS = Object.keys(RULES).flatMap((kind) => PATHS.flatMap((path) => kind !== "rename" ? [{ kind, path }]
        : PATHS.filter((to) => to !== path).map((to) => ({ kind, path, to }))));

    const COMMANDS = {
        read: (path) => `cat ${path}`, write: (path) => `echo new > ${path}`, append: (path) => `echo + >> ${path}`,
        remove: (path) => `rm -r ${path}`, mkdir: (path) => `mkdir ${path}`, rename: (path, to) => `rename("${path}", "${to}")`,
    };

    const COLUMNS = [["lower", 14, "read-only"], ["upper", 252, "the container's own"], ["merged", 490, "what the container sees"]];
    const WIDTH = 216, TOP = 52, ROW = 28, FEWEST_ROWS = 8;
    const text = (kind, x, y, words) => `<text class="fig-text ${kind}" x="${x}" y="${y}">${words}</text>`;

    // The rows of all trees are those of one list of paths, so that what hides what stands side by side.
    function picture(state, before = state) {
        const paths = everything(state);
        const height = Math.max(paths.length, FEWEST_ROWS) * ROW;
        const lines = COLUMNS.flatMap(([name, x, what]) => [
            text("fig-strong", x + 2, 20, name), text("fig-small fig-muted", x + 2, 38, what),
            `<rect class="fig-box" x="${x}" y="${TOP - 6}" width="${WIDTH}" height="${height + 8}" rx="4"/>`,
        ]);
        const trees = { lower: state.lower, upper: state.upper, merged: merged(state) };
        const olds = { lower: before.lower, upper: before.upper, merged: merged(before) };
        for (const [name, x] of COLUMNS) {
            paths.forEach((path, row) => {
                const node = trees[name][path];
                const changed = describe(node) !== describe(olds[name][path]);
                if (node) lines.push(...entry(path, node, x + 6, TOP + row * ROW, changed, origin(state, name, path)));
            });
        }
        return { lines: lines.join("\n"), height: TOP + height + 12 };
    }

    const describe = (node) => !node ? "" : node.opaque ? "opaque" : node.kind === "file" ? `file ${node.text}` : node.kind;

    function origin(state, name, path) {
        if (name !== "merged") return "";
        if (!state.upper[path]) return "lower";
        return isMerged(state, path) ? "both" : "upper";
    }

    function entry(path, node, x, y, changed, from) {
        const colour = changed ? "fig-accent" : { file: "fig-child", folder: "fig-parent", whiteout: "fig-wrong" }[node.kind];
        const kind = node.kind === "whiteout" ? `${colour} fig-dashed` : colour;
        const indent = 14 * parents(path).length;
        const name = path.slice(parent(path).length).replace("/", "") + (node.kind === "folder" ? "/" : "");
        const what = { file: node.text, folder: node.opaque ? "opaque" : "", whiteout: "whiteout c 0/0" }[node.kind];
        const right = [what, from].filter(Boolean).join(" · ");
        return [
            `<rect class="fig-box ${kind} fig-fill" x="${x + indent}" y="${y}"`
                + ` width="${WIDTH - 12 - indent}" height="24" rx="3"/>`,
            text("fig-mono", x + indent + 8, y + 17, name),
            text(`fig-small fig-end ${node.kind === "whiteout" ? "fig-wrong" : "fig-muted"}`, x + WIDTH - 20, y + 16, right),
        ];
    }

    function start(figure) {
        let state = START;
        const make = (tag, properties, ...children) => {
            const element = Object.assign(document.createElement(tag), properties);
            element.append(...children);
            return element;
        };
        const choice = (name, title) => {
            const select = make("select", {}, ...PATHS.map((path) => make("option", { value: path }, path)));
            select.dataset.overlay = name;
            return [make("label", {}, `${title} `, select), select];
        };
        const [pathLabel, path] = choice("path", "path"), [toLabel, to] = choice("to", "to");
        to.value = "new";
        const button = (name, title, action) => {
            const element = make("button", { type: "button", className: "quiet-button" }, title);
            element.dataset.overlay = name;
            element.addEventListener("click", action);
            return element;
        };
        const verbs = { read: "read", write: "write", append: "append", remove: "remove", mkdir: "make folder", rename: "rename" };
        const buttons = Object.entries(verbs).map(([kind, title]) =>
            button(kind, title, () => act({ kind, path: path.value, to: to.value })));
        const again = button("again", "start again", () => { state = START; show(state, "Choose a path, then an operation."); });
        const rename = make("span", { className: "figure-group" }, buttons.pop(), toLabel);
        const controls = make("div", { className: "figure-controls" }, pathLabel, ...buttons, rename, again);
        const said = make("p", { className: "figure-words" });
        said.setAttribute("role", "status");
        // The arrow keys choose a path; mdBook would turn the page.
        controls.addEventListener("keydown", (event) => event.stopPropagation());
        figure.querySelector(".figure-scroll").after(controls, said);

        function act(action) {
            if (action.kind === "rename" && action.path === action.to) return;
            const done = step(state, action), before = state;
            state = done.state;
            const command = make("code", {}, COMMANDS[action.kind](action.path, action.to));
            show(before, command, `: ${done.says}`);
        }
        function show(before, ...words) {
            const { lines, height } = picture(state, before);
            figure.querySelector("#figure-overlay-picture").innerHTML = lines;
            figure.querySelector("svg").setAttribute("viewBox", `0 0 720 ${height}`);
            said.replaceChildren(...words);
        }
        show(state, "Choose a path, then an operation.");
    }

    // For the tests: the rule, and what each operation of a series leaves, as text.
    function replay(actions) {
        let state = START;
        const texts = (tree) => Object.fromEntries(Object.entries(tree).map(([path, node]) => [path, describe(node)]));
        return actions.map((action) => {
            const done = step(state, action);
            state = done.state;
            return { error: done.error, upper: texts(state.upper), merged: texts(merged(state)) };
        });
    }
    globalThis.figures = { ...globalThis.figures, overlay: { START, ACTIONS, step, replay, picture } };
    if (typeof document === "undefined" || document.location.pathname.endsWith("/print.html")) return;
    const figure = document.getElementById("figure-overlay");
    if (figure) start(figure);
})();
