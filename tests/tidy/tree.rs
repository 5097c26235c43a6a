//! The files of the project, and Rust code without its comments, literals and tests.
//!
//! This is no parser: it knows just enough of Rust's tokens not to take a word in a string for
//! code, and finds items by their braces.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// One Rust file.
pub struct Source {
    /// From the root, as in `src/log/mod.rs`.
    pub path: String,
    pub text: String,
    /// The text with comments and literals blanked out; lines and offsets stay.
    pub code: String,
    /// Literals of strings, and where they stand.
    pub literals: Vec<(usize, String)>,
    /// Which parts of `code` are there for tests only.
    tests: Vec<Range<usize>>,
}

impl Source {
    fn new(path: String, text: String, is_test: bool) -> Self {
        let (code, literals) = blanked(&text);
        let whole = 0..code.len();
        let tests = if is_test {
            vec![whole]
        } else {
            test_items(&code)
        };
        Self {
            path,
            text,
            code,
            literals,
            tests,
        }
    }

    /// The code that is built into the program.
    pub fn program(&self) -> String {
        let mut program = self.code.clone().into_bytes();
        for range in &self.tests {
            blank(&mut program[range.clone()]);
        }
        String::from_utf8(program).unwrap()
    }

    pub fn is_test_at(&self, offset: usize) -> bool {
        self.tests.iter().any(|range| range.contains(&offset))
    }

    /// `path:line` of an offset, for people.
    pub fn at(&self, offset: usize) -> String {
        let line = self.text[..offset].matches('\n').count() + 1;
        format!("{}:{line}", self.path)
    }

    /// The modules from the crate's root down to this file, as in `["store", "sqlite"]`.
    pub fn modules(&self) -> Vec<&str> {
        let path = self.path.trim_start_matches("src/");
        let path = path.trim_end_matches(".rs").trim_end_matches("/mod");
        path.split('/').filter(|name| *name != "lib").collect()
    }
}

/// Every Rust file of the library, its binaries and its tests.
pub fn sources() -> Vec<Source> {
    let texts: Vec<(String, String)> = files()
        .into_iter()
        .filter(|path| has_extension(path, "rs"))
        .map(|path| {
            let text = read(&path);
            (path, text)
        })
        .collect();
    let only_tests: Vec<String> = texts
        .iter()
        .flat_map(|(path, text)| test_modules(path, &blanked(text).0))
        .collect();
    let is_test = |path: &str| {
        let of_module = |module: &String| {
            path.strip_prefix(module.as_str())
                .is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
        };
        path.starts_with("tests/") || only_tests.iter().any(of_module)
    };
    let sources = texts.into_iter();
    sources
        .map(|(path, text)| {
            let is_test = is_test(&path);
            Source::new(path, text, is_test)
        })
        .collect()
}

/// The sources below `src/`.
pub fn library() -> Vec<Source> {
    let mut sources = sources();
    sources.retain(|source| source.path.starts_with("src/"));
    sources
}

pub fn read(path: &str) -> String {
    let bytes = fs::read(Path::new(ROOT).join(path)).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What belongs to the project, from its root: what git tracks or would, or without git all files
/// but those of the tools.
pub fn files() -> Vec<String> {
    let listed = Command::new("git")
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .current_dir(ROOT)
        .output();
    let listed = listed.ok().filter(|output| output.status.success());
    let paths: Vec<String> = match listed {
        Some(output) => String::from_utf8(output.stdout)
            .unwrap()
            .split_terminator('\0')
            .map(str::to_owned)
            .collect(),
        None => walk(Path::new(ROOT)),
    };
    let exists = |path: &String| Path::new(ROOT).join(path).is_file();
    let mut paths: Vec<String> = paths.into_iter().filter(exists).collect();
    paths.sort_unstable();
    assert!(paths.iter().any(|path| path == "src/lib.rs"), "no sources");
    paths
}

pub fn has_extension(path: &str, extension: &str) -> bool {
    Path::new(path)
        .extension()
        .is_some_and(|is| is == extension)
}

fn walk(directory: &Path) -> Vec<String> {
    let mut found = vec![];
    for entry in fs::read_dir(directory).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        let relative = path.strip_prefix(ROOT).unwrap().display().to_string();
        if [".git", ".env", "target", "data"].contains(&relative.as_str()) {
            continue;
        }
        if path.is_dir() {
            found.extend(walk(&path));
        } else {
            found.push(relative);
        }
    }
    found
}

fn blank(bytes: &mut [u8]) {
    for byte in bytes.iter_mut().filter(|byte| **byte != b'\n') {
        *byte = b' ';
    }
}

/// Blanks comments and literals out, and collects the literals of strings.
fn blanked(text: &str) -> (String, Vec<(usize, String)>) {
    let mut code = text.as_bytes().to_vec();
    let mut literals = vec![];
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let length = token(rest, at > 0 && is_word(text.as_bytes()[at - 1]));
        if let Some(length) = length {
            if rest[..length].ends_with(['"', '#']) {
                literals.push((at, rest[..length].to_owned()));
            }
            blank(&mut code[at..at + length]);
            at += length;
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    (String::from_utf8(code).unwrap(), literals)
}

/// The length of the comment or literal at the start of `rest`, if there is one.
fn token(rest: &str, in_word: bool) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(rest.find("*/").map_or(rest.len(), |end| end + 2));
    }
    if rest.starts_with('"') {
        return Some(string(rest));
    }
    if rest.starts_with('r') && !in_word {
        let hashes = rest[1..].bytes().take_while(|byte| *byte == b'#').count();
        if rest[1 + hashes..].starts_with('"') {
            let end = format!("\"{}", "#".repeat(hashes));
            let from = hashes + 2;
            return rest[from..].find(&end).map(|at| from + at + end.len());
        }
    }
    if rest.starts_with('\'') {
        return character(rest);
    }
    None
}

fn string(rest: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in rest.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// A character's literal; a lifetime is none.
fn character(rest: &str) -> Option<usize> {
    let inner = rest[1..].chars().next()?;
    if inner == '\\' {
        let end = rest[3..].find('\'')?;
        return Some(3 + end + 1);
    }
    let end = 1 + inner.len_utf8();
    rest[end..].starts_with('\'').then_some(end + 1)
}

pub fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Where `word` stands in `code`, not as a part of a longer word.
pub fn find_words(code: &str, word: &str) -> Vec<usize> {
    let bytes = code.as_bytes();
    let is_whole = |at: usize| {
        let starts = at == 0 || !is_word(bytes[at - 1]) || !is_word(word.as_bytes()[0]);
        let end = at + word.len();
        let ends = end == bytes.len() || !is_word(bytes[end]) || !is_word(bytes[end - 1]);
        starts && ends
    };
    let found = code.match_indices(word).map(|(at, _)| at);
    found.filter(|at| is_whole(*at)).collect()
}

/// The offset after the brace that closes the first one at or after `from`.
pub fn end_of_braces(code: &str, from: usize) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in code.bytes().enumerate().skip(from) {
        match byte {
            b'{' => depth += 1,
            b'}' => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    code.len()
}

/// Items marked `#[cfg(test)]`, with their attributes.
fn test_items(code: &str) -> Vec<Range<usize>> {
    let marks = code.match_indices("#[cfg(test)]");
    marks.map(|(at, _)| at..end_of_item(code, at)).collect()
}

fn end_of_item(code: &str, at: usize) -> usize {
    let mut from = at;
    while code[from..].trim_start().starts_with("#[") {
        from += code[from..].find(']').unwrap() + 1;
    }
    let is_import = find_words(&code[from..], "use").first().is_some_and(|at| {
        let before = code[from..from + at].trim();
        before.is_empty() || before.starts_with("pub")
    });
    let semicolon = code[from..].find(';').map(|at| from + at);
    let brace = code[from..].find('{').map(|at| from + at);
    // A variant of an enum, or an arm of a `match`.
    let first = [semicolon, brace].into_iter().flatten().min();
    if let Some(comma) = end_of_part(code, from).filter(|end| first.is_none_or(|at| *end < at)) {
        return comma;
    }
    match (semicolon, brace) {
        (Some(semicolon), brace) if is_import || brace.is_none_or(|brace| semicolon < brace) => {
            semicolon + 1
        }
        (_, Some(brace)) => end_of_braces(code, brace),
        _ => code.len(),
    }
}

/// The offset after the first comma at or after `from` that stands in no parentheses.
fn end_of_part(code: &str, from: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, byte) in code.bytes().enumerate().skip(from) {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth = depth.checked_sub(1)?,
            b',' if depth == 0 => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// The modules in files of their own that `code` has for tests only, as paths without `.rs`.
fn test_modules(path: &str, code: &str) -> Vec<String> {
    let parent = path.trim_end_matches(".rs").trim_end_matches("/mod");
    let parent = parent.strip_suffix("/lib").unwrap_or(parent);
    let items = test_items(code).into_iter();
    items
        .filter_map(|range| {
            let item = code[range].trim().strip_suffix(';')?;
            let name = item.rsplit_once("mod ")?.1;
            Some(format!("{parent}/{name}"))
        })
        .collect()
}

#[test]
fn comments_literals_and_tests_are_not_the_program() {
    let text = r#"
        //! unwrap()
        fn shown<'a>(x: &'a str) -> char { /* unwrap() */ let _ = r"unwrap() quoted"; '\'' }
        const QUOTE: char = '"'; const NAME: &str = "an \" unwrap()";
        #[cfg(test)]
        #[expect(dead_code)]
        mod tests { use super::{shown}; fn hidden() { x.unwrap() } }
        #[cfg(test)]
        use std::{fs, io};
        fn also_shown() {}
        enum End { Real, #[cfg(test)] Fake(hidden::Type), Other }
    "#;
    let source = Source::new("src/a.rs".into(), text.into(), false);
    let program = source.program();
    for hidden in ["unwrap", "quoted", "hidden", "std", "Fake"] {
        assert!(!program.contains(hidden), "{hidden} in {program}");
    }
    for shown in ["fn shown<'a>", "const NAME", "fn also_shown() {}", "Other }"] {
        assert!(program.contains(shown), "{shown} not in {program}");
    }
    assert_eq!(source.literals.len(), 2);
    assert_eq!(program.len(), text.len());
}

#[test]
fn a_raw_literal_ends_where_its_hashes_say() {
    let hashes = "##";
    let text = format!("a(r{hashes}\"one \"# two\"{hashes}, 'r', b\"x\"); unwrapped()");
    let (code, literals) = blanked(&text);
    assert!(!code.contains("one") && !code.contains("two") && code.contains("unwrapped()"));
    assert_eq!(literals.len(), 2);
}
