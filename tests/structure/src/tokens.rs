//! Small questions to syntax: is it for tests, which path stands in these tokens.

use std::path::PathBuf;

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::ext::IdentExt;
use syn::{Attribute, Ident, Item, Meta};

use crate::tree::Route;

/// `#[cfg(test)]`, also where more is asked for: `#[cfg(all(test, unix))]`.
pub(crate) fn is_for_tests(attribute: &Attribute) -> bool {
    let Meta::List(list) = &attribute.meta else { return false };
    list.path.is_ident("cfg") && needs_test(list.tokens.clone())
}

fn needs_test(tokens: TokenStream) -> bool {
    let tokens: Vec<_> = tokens.into_iter().collect();
    tokens.iter().enumerate().any(|(at, token)| match (token, tokens.get(at + 1)) {
        (TokenTree::Ident(all), Some(TokenTree::Group(group)))
            if all == "all" && group.delimiter() == Delimiter::Parenthesis =>
        {
            needs_test(group.stream())
        }
        (TokenTree::Ident(test), _) => test == "test",
        _ => false,
    })
}

/// What `#[path = "…"]` says.
pub(crate) fn named_path(attributes: &[Attribute]) -> Option<PathBuf> {
    attributes.iter().find_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
            syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => {
                Some(PathBuf::from(text.value()))
            }
            _ => None,
        },
        _ => None,
    })
}

/// The path that begins with the word at `at`, and where it ends.
pub(crate) fn path_at(tokens: &[TokenTree], mut at: usize) -> (Route, usize) {
    let mut segments = Vec::new();
    while let Some(TokenTree::Ident(word)) = tokens.get(at) {
        segments.push(word.unraw().to_string());
        at += 1;
        let more = colons(tokens, at) && matches!(tokens.get(at + 2), Some(TokenTree::Ident(_)));
        if !more {
            break;
        }
        at += 2;
    }
    (Route { foreign: false, segments }, at)
}

/// Whether `::` stands at `at`.
pub(crate) fn colons(tokens: &[TokenTree], at: usize) -> bool {
    let colon =
        |at: usize| matches!(tokens.get(at), Some(TokenTree::Punct(p)) if p.as_char() == ':');
    colon(at) && colon(at.wrapping_add(1))
}

/// A path in quotes: `#[serde(with = "crate::words")]`.
pub(crate) fn path_in_text(literal: &str) -> Option<Route> {
    let text = literal.strip_prefix('"')?.strip_suffix('"')?;
    let word = |word: &str| {
        !word.is_empty() && word.chars().all(|letter| letter.is_alphanumeric() || letter == '_')
    };
    let segments: Vec<_> = text.split("::").map(str::to_owned).collect();
    (segments.len() > 1 && segments.iter().all(|segment| word(segment)))
        .then_some(Route { foreign: false, segments })
}

/// The attributes of an item.
pub(crate) fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::TraitAlias(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// The name that an item defines.
pub(crate) fn name_of(item: &Item) -> Option<&Ident> {
    match item {
        Item::Const(item) => Some(&item.ident),
        Item::Enum(item) => Some(&item.ident),
        Item::Fn(item) => Some(&item.sig.ident),
        Item::Macro(item) => item.ident.as_ref(),
        Item::Static(item) => Some(&item.ident),
        Item::Struct(item) => Some(&item.ident),
        Item::Trait(item) => Some(&item.ident),
        Item::TraitAlias(item) => Some(&item.ident),
        Item::Type(item) => Some(&item.ident),
        Item::Union(item) => Some(&item.ident),
        _ => None,
    }
}
