//! Which form an answer takes: content negotiation (RFC 9110, section 12.5.1) among the media types of DID documents and
//! results, those of DID 1.0 and of the Universal Resolver included.
//!
//! Invariant: every type that is offered can be served, and a caller who takes anything gets the whole result.

/// The profile by which callers of before DID Resolution 1.0 ask for a whole result.
const OLD_PROFILE: &str = "https://w3id.org/did-resolution";

/// What is offered, for messages.
pub(super) const OFFERED: &str = "application/did-resolution, application/did, application/did+ld+json, \
                                  application/did+json, application/ld+json or application/json; of a DID URL \
                                  application/did-url-dereferencing instead of the first, and text/uri-list of a service";

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The result of resolution.
    Result,
    /// The same in the shape from before DID Resolution 1.0, whose errors are words.
    OldResult,
    /// The result of dereferencing.
    Dereferencing,
    /// The DID document, or the part of it that a DID URL names.
    Document(Representation),
    /// A service's URL: a redirection.
    UriList,
}

/// How a DID document is written. All are JSON-LD; they differ in their names and contexts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Representation {
    /// DID Core 1.1's own.
    #[default]
    Did,
    /// DID Core 1.0's JSON-LD.
    DidLdJson,
    /// DID Core 1.0's JSON.
    DidJson,
    /// Any JSON-LD: what the Universal Resolver asks its drivers for.
    LdJson,
    /// Any JSON.
    Json,
}

/// The forms of a DID's answer, the best first.
pub(super) const RESOLVING: &[Form] = &[
    Form::Result,
    Form::OldResult,
    Form::Dereferencing,
    Form::Document(Representation::Did),
    Form::Document(Representation::DidLdJson),
    Form::Document(Representation::DidJson),
    Form::Document(Representation::LdJson),
    Form::Document(Representation::Json),
];

/// The forms of a DID URL's answer, the best first.
pub(super) const DEREFERENCING: &[Form] = &[
    Form::Dereferencing,
    Form::Document(Representation::Did),
    Form::Document(Representation::DidLdJson),
    Form::Document(Representation::DidJson),
    Form::Document(Representation::LdJson),
    Form::Document(Representation::Json),
];

/// The forms of the answer to a DID URL that selects services, the best first.
pub(super) const SELECTING: &[Form] = &[
    Form::Dereferencing,
    Form::Document(Representation::Did),
    Form::Document(Representation::DidLdJson),
    Form::Document(Representation::DidJson),
    Form::Document(Representation::LdJson),
    Form::Document(Representation::Json),
    Form::UriList,
];

impl Form {
    /// The `Content-Type` of an answer in this form.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Result => "application/did-resolution",
            Self::OldResult => "application/ld+json;profile=\"https://w3id.org/did-resolution\"",
            Self::Dereferencing => "application/did-url-dereferencing",
            Self::Document(representation) => representation.media_type(),
            Self::UriList => "text/uri-list",
        }
    }

    /// How the document in it is written.
    pub const fn representation(self) -> Representation {
        match self {
            Self::Document(representation) => representation,
            Self::OldResult => Representation::DidLdJson,
            Self::Result | Self::Dereferencing | Self::UriList => Representation::Did,
        }
    }

    /// How well `range` fits: none where it does not, else more for a range that says more.
    fn fits(self, range: &Range<'_>) -> Option<u8> {
        let (kind, subtype) = self.names();
        let specific = |named: &str, name: &str| named.eq_ignore_ascii_case(name);
        // Nobody gets the old shape who did not ask for it by its profile.
        if self == Self::OldResult && !(specific(range.kind, kind) && range.old_profile) {
            return None;
        }
        match (range.kind, range.subtype) {
            ("*", "*") => Some(1),
            (named, "*") if specific(named, kind) => Some(2),
            (named, name) if specific(named, kind) && specific(name, subtype) => {
                // A range with that profile means the whole result, not a document.
                let document = matches!(self, Self::Document(_));
                (!(document && range.old_profile)).then_some(3)
            }
            _ => None,
        }
    }

    const fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Result => ("application", "did-resolution"),
            Self::OldResult | Self::Document(Representation::LdJson) => ("application", "ld+json"),
            Self::Dereferencing => ("application", "did-url-dereferencing"),
            Self::Document(Representation::Did) => ("application", "did"),
            Self::Document(Representation::DidLdJson) => ("application", "did+ld+json"),
            Self::Document(Representation::DidJson) => ("application", "did+json"),
            Self::Document(Representation::Json) => ("application", "json"),
            Self::UriList => ("text", "uri-list"),
        }
    }
}

impl Representation {
    /// Its media type.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Did => "application/did",
            Self::DidLdJson => "application/did+ld+json",
            Self::DidJson => "application/did+json",
            Self::LdJson => "application/ld+json",
            Self::Json => "application/json",
        }
    }

    /// Whether its readers may know the contexts of DID Core 1.0 alone.
    pub(super) const fn is_old(self) -> bool {
        matches!(self, Self::DidLdJson | Self::DidJson | Self::LdJson)
    }
}

/// One of the media ranges of an `Accept`.
struct Range<'a> {
    kind: &'a str,
    subtype: &'a str,
    old_profile: bool,
    /// In thousandths.
    quality: u16,
}

/// The form that the caller likes best of those offered; of equal ones, the first. Without an `accept` it is the first.
/// None where nothing offered is taken.
pub(super) fn negotiate(accept: Option<&str>, offered: &[Form]) -> Option<Form> {
    let Some(accept) = accept.filter(|accept| !accept.trim().is_empty()) else {
        return offered.first().copied();
    };
    let ranges: Vec<Range<'_>> = split(accept, ',').filter_map(parse).collect();
    let mut best: Option<(u16, Form)> = None;
    for form in offered {
        // The range that says most decides.
        let fitting = ranges.iter().filter_map(|range| form.fits(range).map(|fit| (fit, range.quality)));
        let quality = fitting.max().map_or(0, |(_, quality)| quality);
        if quality > best.map_or(0, |(quality, _)| quality) {
            best = Some((quality, *form));
        }
    }
    best.map(|(_, form)| form)
}

fn parse(range: &str) -> Option<Range<'_>> {
    let mut parts = split(range, ';').map(str::trim);
    let (kind, subtype) = parts.next()?.split_once('/')?;
    let mut read = Range { kind, subtype, old_profile: false, quality: 1_000 };
    for parameter in parts {
        let Some((name, value)) = parameter.split_once('=') else { continue };
        let (name, value) = (name.trim(), value.trim().trim_matches('"'));
        if name.eq_ignore_ascii_case("q") {
            read.quality = thousandths(value)?;
        } else if name.eq_ignore_ascii_case("profile") {
            read.old_profile = value.split(' ').any(|profile| profile == OLD_PROFILE);
        }
    }
    Some(read)
}

/// A quality: from 0 to 1, with at most three decimals.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let decimals = format!("{decimals:0<3}").parse().ok()?;
    match (whole, decimals) {
        ("0", decimals) => Some(decimals),
        ("1", 0) => Some(1_000),
        _ => None,
    }
}

/// The parts of `text` between `separator`s that stand outside quotes.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |character| {
        quoted ^= character == '"';
        character == separator && !quoted
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn gives(accept: &str, form: Option<Form>) {
        assert_eq!(negotiate(Some(accept), RESOLVING), form, "{accept}");
    }

    #[test]
    fn who_takes_anything_gets_the_whole_result() {
        assert_eq!(negotiate(None, RESOLVING), Some(Form::Result));
        assert_eq!(negotiate(None, DEREFERENCING), Some(Form::Dereferencing));
        for accept in ["", "*/*", "application/*", "text/html,application/xhtml+xml,*/*;q=0.8"] {
            gives(accept, Some(Form::Result));
        }
    }

    #[test]
    fn each_type_that_is_offered_can_be_asked_for() {
        for form in RESOLVING {
            gives(form.media_type(), Some(*form));
        }
        for form in SELECTING {
            assert_eq!(negotiate(Some(form.media_type()), SELECTING), Some(*form));
            let without = (*form != Form::UriList).then_some(*form);
            assert_eq!(negotiate(Some(form.media_type()), DEREFERENCING), without);
        }
        gives("APPLICATION/DID", Some(Form::Document(Representation::Did)));
        gives("application/json; charset=utf-8", Some(Form::Document(Representation::Json)));
    }

    #[test]
    fn the_universal_resolver_gets_a_whole_result_wherever_it_takes_one() {
        let old = "application/ld+json;profile=\"https://w3id.org/did-resolution\"";
        gives(&format!("{old},application/did+ld+json"), Some(Form::OldResult));
        gives(&format!("{old}; charset=utf-8, application/ld+json"), Some(Form::OldResult));
        gives("application/did-resolution,application/did", Some(Form::Result));
        gives("application/ld+json", Some(Form::Document(Representation::LdJson)));
        let other = "application/ld+json;profile=\"http://www.w3.org/ns/json-ld#compacted\"";
        gives(other, Some(Form::Document(Representation::LdJson)));
    }

    #[test]
    fn quality_decides_before_our_own_order_and_the_narrower_range_before_the_wider() {
        gives(
            "application/did;q=0.9, application/did-resolution;q=0.8",
            Some(Form::Document(Representation::Did)),
        );
        gives("*/*, application/did-resolution;q=0", Some(Form::Dereferencing));
        gives("application/did-resolution;q=0", None);
        gives("application/did;q=0.0, */*;q=0.1", Some(Form::Result));
    }

    #[test]
    fn what_cannot_be_served_gives_nothing_and_rubbish_is_passed_over() {
        for accept in
            ["text/html", "application/cbor", "text/uri-list", "x", ";;;", ",", "application/did;q=2"]
        {
            gives(accept, None);
        }
        gives("x, application/did", Some(Form::Document(Representation::Did)));
        gives("a/b;p=\",\", application/did", Some(Form::Document(Representation::Did)));
    }
}
