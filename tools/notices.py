#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Writes the notices of all third-party crates that the packages contain.

    tools/notices.py [--lint] [OUT=target/THIRD-PARTY-NOTICES]

Walks the normal dependencies of the program and the libraries (`cargo metadata`), and writes each
crate's name, version, license expression and license texts, which it reads from the crate's
sources. Build and test dependencies are not shipped and are left out. Fails if a license is not
allowed below; with --lint also if the README's list of direct dependencies is wrong.
"""

import json
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
SHIPPED = ("geom_compositor", "geom-client", "geom-python")

# Permissive licenses that a package under "MIT OR Apache-2.0" may contain. All ask for a notice.
ALLOWED = {
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "OFL-1.1",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
}
# What a crate contains in addition to its own code: name -> (license, what, a file with the text
# if the crate's package has none).
BUNDLED = {
    "lcms2-sys": ("MIT", "Little CMS", None),
    "noto-sans-mono-bitmap": ("OFL-1.1", "glyphs of Noto Sans Mono", "tools/licenses/OFL-1.1"),
}
LICENSE_FILE = re.compile(r"(licen[cs]e|copying|notice|unlicense|ofl|copyright)", re.IGNORECASE)
# Folders in which a crate keeps the sources that it bundles.
DEPTH = 3


def metadata():
    version = subprocess.run(["rustc", "-vV"], capture_output=True, text=True, check=True).stdout
    host = re.search(r"^host: (\S+)$", version, re.MULTILINE)[1]
    command = ["cargo", "metadata", "--format-version=1", "--locked", "--filter-platform", host]
    # Without the network if the sources are there, as after a build.
    for extra in (["--offline"], []):
        done = subprocess.run(command + extra, cwd=ROOT, capture_output=True, text=True)
        if done.returncode == 0:
            return json.loads(done.stdout)
    sys.exit(f"notices: cargo metadata failed:\n{done.stderr}")


def shipped(data):
    """The packages that are linked into what is shipped, without this workspace's own."""
    packages = {package["id"]: package for package in data["packages"]}
    nodes = {node["id"]: node for node in data["resolve"]["nodes"]}
    waiting = [id for id, package in packages.items() if package["name"] in SHIPPED and package["source"] is None]
    seen = set(waiting)
    while waiting:
        for dependency in nodes[waiting.pop()]["deps"]:
            is_normal = any(kind["kind"] is None for kind in dependency["dep_kinds"])
            package = packages[dependency["pkg"]]
            # A procedural macro runs in the compiler; what it leaves is our code.
            is_macro = any("proc-macro" in target["kind"] for target in package["targets"])
            if is_normal and not is_macro and dependency["pkg"] not in seen:
                seen.add(dependency["pkg"])
                waiting.append(dependency["pkg"])
    found = [packages[id] for id in seen if packages[id]["source"] is not None]
    return sorted(found, key=lambda package: (package["name"], package["version"]))


def check_readme(data):
    """The README's list of direct dependencies must have one line for each, and no others."""
    own = {package["name"] for package in data["packages"] if package["source"] is None}
    waiting, seen, direct = list(SHIPPED), set(), set()
    packages = {package["name"]: package for package in data["packages"] if package["source"] is None}
    while waiting:
        name = waiting.pop()
        seen.add(name)
        for dependency in packages[name]["dependencies"]:
            if dependency["kind"] is None and dependency["name"] in own:
                waiting += [dependency["name"]] if dependency["name"] not in seen else []
            elif dependency["kind"] is None:
                direct.add(dependency["name"])
    section = (ROOT / "README.md").read_text(encoding="utf-8").split("\n## Dependencies\n")[1].split("\n## ")[0]
    listed, problems = set(), []
    for line in section.splitlines():
        if not line.startswith("- "):
            continue
        found = re.fullmatch(r"- `([^`]+)`: \S.*", line)
        if not found:
            problems.append(f"README.md: not a line of one dependency and its reason: {line}")
        elif found[1] in listed:
            problems.append(f"README.md: a second line for the dependency {found[1]}")
        else:
            listed.add(found[1])
    problems += [f"README.md: no line for the dependency {name}" for name in sorted(direct - listed)]
    return problems + [f"README.md: {name} is no dependency" for name in sorted(listed - direct)]


def is_allowed(expression):
    """Evaluates an SPDX expression (or cargo's older form with "/") against ALLOWED."""
    tokens = re.findall(r"[()]|[^\s()]+", expression.replace("/", " OR "))
    place = 0

    def peek():
        return tokens[place] if place < len(tokens) else None

    def either():
        nonlocal place
        value = both()
        while peek() == "OR":
            place += 1
            value = both() or value
        return value

    def both():
        nonlocal place
        value = one()
        while peek() == "AND":
            place += 1
            value = one() and value
        return value

    def one():
        nonlocal place
        token = peek()
        place += 1
        if token == "(":
            value = either()
            place += 1
            return value
        if peek() == "WITH":
            token = " ".join(tokens[place - 1 : place + 2])
            place += 2
        return token in ALLOWED

    return bool(tokens) and either() and place == len(tokens)


def texts(package):
    """The license files in a crate's sources, by their path in it."""
    folder = pathlib.Path(package["manifest_path"]).parent
    found = {}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        source = path.suffix in (".rs", ".c", ".h", ".py", ".sh", ".toml", ".json", ".icc")
        if path.is_file() and len(relative.parts) <= DEPTH and LICENSE_FILE.match(path.name) and not source:
            text = path.read_text(encoding="utf-8", errors="replace").strip()
            if text and text not in found.values():
                found[str(relative)] = text
    named = package["license_file"]
    if named and (folder / named).is_file() and named not in found:
        found[named] = (folder / named).read_text(encoding="utf-8", errors="replace").strip()
    return found


def standard_text(expression):
    """This repository's copy of a text, for crates whose package has none."""
    for name, file in (("MIT", "LICENSE-MIT"), ("Apache-2.0", "LICENSE-APACHE")):
        if re.search(rf"\b{re.escape(name)}\b", expression):
            text = (ROOT / file).read_text(encoding="utf-8")
            # Without our copyright line.
            return name, "\n".join(line for line in text.splitlines() if not line.startswith("Copyright (c)")).strip()
    return None


def main():
    paths = [argument for argument in sys.argv[1:] if argument != "--lint"]
    out = pathlib.Path(paths[0]) if paths else ROOT / "target" / "THIRD-PARTY-NOTICES"
    data = metadata()
    problems, parts, all_texts = check_readme(data) if "--lint" in sys.argv else [], [], {}
    packages = shipped(data)
    for package in packages:
        name, version = package["name"], package["version"]
        expression = package["license"] or ""
        if not is_allowed(expression):
            problems.append(f"{name} {version}: license {expression or 'unknown'!r} is not allowed")
        files = texts(package)
        lines = [f"{name} {version}", f"License: {expression}"]
        if package["authors"]:
            lines.append(f"Authors: {', '.join(package['authors'])}")
        if package["repository"]:
            lines.append(f"Source: {package['repository']}")
        if name in BUNDLED:
            license, what, _ = BUNDLED[name]
            lines.append(f"Contains {what}: {license}")
            if license not in ALLOWED:
                problems.append(f"{name} {version}: contains {what} under {license}, which is not allowed")
        if not files:
            standard = standard_text(expression)
            if standard is None:
                problems.append(f"{name} {version}: no license text in its package, and no standard one for {expression!r}")
            else:
                files = {f"{standard[0]} (the package contains no text)": standard[1]}
        license, _, bundled = BUNDLED.get(name, (None, None, None))
        if bundled:
            files[license] = (ROOT / bundled).read_text(encoding="utf-8").strip()
        for file, text in files.items():
            # The same text under many crates is written once.
            number = all_texts.setdefault(text, len(all_texts) + 1)
            lines.append(f"Text: [{number}] {file}")
        parts.append("\n".join(lines))
    if problems:
        sys.exit("notices: " + "\nnotices: ".join(problems))
    head = (
        "Third-party notices of geom_compositor\n\n"
        "The program and its libraries contain the crates below. geom_compositor itself is under\n"
        '"MIT OR Apache-2.0". The texts that the crates refer to by number follow the list.\n'
    )
    rule = "\n" + "-" * 80 + "\n\n"
    body = "\n\n".join(parts)
    tail = rule.join(f"[{number}]\n\n{text}" for text, number in all_texts.items())
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(f"{head}\n{body}\n{rule}{tail}\n", encoding="utf-8")
    print(f"notices: {len(packages)} crates, {len(all_texts)} texts in {out}")


if __name__ == "__main__":
    main()
