//! The policy language: any text is a policy or a list of mistakes, and a policy decides the same each time.

use jitsudo_core::evaluate::evaluate;
use jitsudo_core::language::{HostLookup, SourceFile, compile};
use jitsudo_core::policy::Policy;

use crate::sample;

/// One policy file.
pub(crate) fn policy(bytes: &[u8]) {
    let host = HostLookup { zone: &|_| None, resolve_directory: &str::to_owned, group_has_more: &|_| None };
    let file = || vec![SourceFile { name: "10-fuzz.toml".to_owned(), bytes: bytes.to_vec() }];
    let compiled = match compile(&file(), &host) {
        Ok(compiled) => compiled,
        Err(mistakes) => {
            assert!(!mistakes.is_empty(), "refused without a reason");
            return;
        }
    };
    let again = compile(&file(), &host).expect("the same text compiles again");
    let written = compiled.policy.to_compiled();
    assert_eq!(written, again.policy.to_compiled(), "compiling depends on chance");
    let again = Policy::from_compiled(&written).expect("what was compiled can be loaded");
    let facts = sample::facts();
    for request in sample::requests() {
        let decided = evaluate(Some(&compiled.policy), &facts, &request, sample::now());
        assert_eq!(decided, evaluate(Some(&again), &facts, &request, sample::now()));
    }
}
