//! Relative references, resolved against a base (RFC 3986, sections 4.2 and 5.2).
//!
//! Invariant: what comes out is at the base's own host. The specification would let `//elsewhere.example` through, and
//! so let anybody write a DID URL that leads from a trusted DID to a host of their own.

/// The parts of a URI (RFC 3986, appendix B), without their delimiters.
struct Parts<'a> {
    scheme: Option<&'a str>,
    authority: Option<&'a str>,
    path: &'a str,
    query: Option<&'a str>,
    fragment: Option<&'a str>,
}

/// `reference` as seen from `base`.
///
/// # Errors
/// Says what is wrong with the reference.
pub(super) fn resolve(base: &str, reference: &str) -> Result<String, &'static str> {
    check(reference)?;
    let (base, reference) = (parts(base), parts(reference));
    if reference.scheme.is_some() {
        return Err("its relativeRef is absolute");
    }
    if reference.authority.is_some() {
        return Err("its relativeRef names another host");
    }
    let (path, query) = if reference.path.is_empty() {
        (base.path.to_owned(), reference.query.or(base.query))
    } else if reference.path.starts_with('/') {
        (without_dots(reference.path), reference.query)
    } else {
        (without_dots(&merged(&base, reference.path)), reference.query)
    };
    // Without an authority, `//` would begin one.
    if base.authority.is_none() && path.starts_with("//") {
        return Err("its relativeRef names another host");
    }
    let mut resolved = String::new();
    for (before, part, after) in [
        ("", base.scheme, ":"),
        ("//", base.authority, ""),
        ("", Some(path.as_str()), ""),
        ("?", query, ""),
        ("#", reference.fragment, ""),
    ] {
        if let Some(part) = part {
            resolved.extend([before, part, after]);
        }
    }
    Ok(resolved)
}

/// Whether `reference` has only what a URI may have, and at most one fragment.
fn check(reference: &str) -> Result<(), &'static str> {
    let mut bytes = reference.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let hex = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_hexdigit());
                if !(hex(bytes.next()) && hex(bytes.next())) {
                    return Err("its relativeRef has a % without two hex digits");
                }
            }
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => {}
            _ if b"-._~!$&'()*+,;=:@/?#".contains(&byte) => {}
            _ => return Err("its relativeRef has a character that must be percent-encoded"),
        }
    }
    if reference.matches('#').count() > 1 {
        return Err("its relativeRef has two fragments");
    }
    Ok(())
}

fn parts(uri: &str) -> Parts<'_> {
    let (rest, fragment) = cut(uri, '#');
    let (rest, query) = cut(rest, '?');
    // A colon after a slash belongs to the path.
    let (scheme, rest) = match rest.split_once(':') {
        Some((scheme, rest)) if !scheme.is_empty() && !scheme.contains('/') => (Some(scheme), rest),
        _ => (None, rest),
    };
    let (authority, path) = match rest.strip_prefix("//") {
        Some(rest) => {
            let end = rest.find('/').unwrap_or(rest.len());
            (Some(&rest[..end]), &rest[end..])
        }
        None => (None, rest),
    };
    Parts { scheme, authority, path, query, fragment }
}

fn cut(text: &str, delimiter: char) -> (&str, Option<&str>) {
    text.split_once(delimiter).map_or((text, None), |(before, after)| (before, Some(after)))
}

fn merged(base: &Parts<'_>, path: &str) -> String {
    if base.authority.is_some() && base.path.is_empty() {
        return format!("/{path}");
    }
    let folder = base.path.rfind('/').map_or("", |slash| &base.path[..=slash]);
    format!("{folder}{path}")
}

/// The path without its segments `.` and `..`, each of the latter with what it undoes.
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let rooted = path.starts_with('/');
    let segments = path.strip_prefix('/').unwrap_or(path);
    let mut open = false;
    for segment in segments.split('/') {
        open = matches!(segment, "." | "..");
        match segment {
            "." => {}
            ".." => drop(kept.pop()),
            segment => kept.push(segment),
        }
    }
    let root = if rooted { "/" } else { "" };
    let end = if open && !kept.is_empty() { "/" } else { "" };
    format!("{root}{}{end}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_rfc_3986_come_out_as_it_says() {
        for (reference, resolved) in [
            ("g", "http://a/b/c/g"),
            ("./g", "http://a/b/c/g"),
            ("g/", "http://a/b/c/g/"),
            ("/g", "http://a/g"),
            ("?y", "http://a/b/c/d;p?y"),
            ("g?y", "http://a/b/c/g?y"),
            ("#s", "http://a/b/c/d;p?q#s"),
            ("g#s", "http://a/b/c/g#s"),
            ("g?y#s", "http://a/b/c/g?y#s"),
            (";x", "http://a/b/c/;x"),
            ("g;x?y#s", "http://a/b/c/g;x?y#s"),
            ("", "http://a/b/c/d;p?q"),
            (".", "http://a/b/c/"),
            ("./", "http://a/b/c/"),
            ("..", "http://a/b/"),
            ("../", "http://a/b/"),
            ("../g", "http://a/b/g"),
            ("../..", "http://a/"),
            ("../../", "http://a/"),
            ("../../g", "http://a/g"),
            ("../../../g", "http://a/g"),
            ("/./g", "http://a/g"),
            ("/../g", "http://a/g"),
            ("g.", "http://a/b/c/g."),
            ("..g", "http://a/b/c/..g"),
            ("./../g", "http://a/b/g"),
            ("./g/.", "http://a/b/c/g/"),
            ("g/./h", "http://a/b/c/g/h"),
            ("g/../h", "http://a/b/c/h"),
            ("g;x=1/../y", "http://a/b/c/y"),
            ("g?y/../x", "http://a/b/c/g?y/../x"),
            ("g#s/../x", "http://a/b/c/g#s/../x"),
        ] {
            assert_eq!(resolve("http://a/b/c/d;p?q", reference).as_deref(), Ok(resolved), "{reference}");
        }
        assert_eq!(resolve("https://a.example", "b").as_deref(), Ok("https://a.example/b"));
        assert_eq!(resolve("https://a.example", "").as_deref(), Ok("https://a.example"));
    }

    #[test]
    fn no_reference_leads_to_another_host() {
        for reference in ["//evil.example/x", "https://evil.example", "javascript:alert(1)", "g:h", "///x"] {
            assert!(resolve("https://a.example/b", reference).is_err(), "{reference}");
        }
        for reference in
            ["/..//evil.example", ".//evil.example", "..//..//evil.example", "@evil.example", ":80/"]
        {
            if let Ok(resolved) = resolve("https://a.example", reference) {
                assert!(resolved.starts_with("https://a.example/"), "{reference} leads to {resolved}");
            }
            if let Ok(resolved) = resolve("a:b", reference) {
                assert!(!resolved.contains("://"), "{reference} leads to {resolved}");
            }
        }
    }

    #[test]
    fn what_no_uri_may_have_is_refused() {
        for reference in ["a b", "a\\b", "a\nb", "ü", "a%2", "a%zz", "a#b#c", "<", "\"", "a|b", "`"] {
            assert!(resolve("https://a.example/", reference).is_err(), "{reference}");
        }
        assert!(resolve("https://a.example/", "a%20b").is_ok());
    }
}
