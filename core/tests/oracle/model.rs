//! A small random policy as a value, and the TOML that says the same.

use std::fmt::Write as _;

/// xorshift64*: the seed alone decides everything.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }
    pub fn below(&mut self, most: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(most).unwrap()).unwrap()
    }
    pub fn one_in(&mut self, most: usize) -> bool {
        self.below(most) == 0
    }
    pub fn pick<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }
    pub fn some<'a, T: ?Sized>(&mut self, of: &[&'a T], most: usize) -> Vec<&'a T> {
        (0..=self.below(most)).map(|_| self.pick(of)).collect()
    }
    pub fn maybe<T>(&mut self, chance: usize, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        if self.one_in(chance) { Some(make(self)) } else { None }
    }
}

pub type Words = Vec<&'static str>;

#[derive(Clone, Default, Debug)]
pub struct When {
    pub who: Option<Words>,
    pub hosts: Option<Words>,
    pub roles: Option<Words>,
    pub run: Option<Vec<Words>>,
    pub as_whom: Option<Words>,
    pub edit: Option<Words>,
    pub shell: Option<bool>,
    pub origin: Option<Words>,
    /// Hours of every day in UTC.
    pub hours: Option<(u32, u32, bool)>,
    pub not_after: Option<&'static str>,
    pub except: Option<Box<When>>,
}

#[derive(Clone, Default, Debug)]
pub struct Role {
    pub name: &'static str,
    pub run: Vec<Words>,
    pub shell: bool,
    pub as_whom: Words,
    pub includes: Words,
    pub any_cwd: bool,
    pub env_keep: Words,
    pub groups: bool,
    pub edit: Words,
    pub create: bool,
}

#[derive(Clone, Default, Debug)]
pub struct Terms {
    pub window: Option<u64>,
    pub run_time: Option<u64>,
    pub auth: Option<usize>,
    pub approvals: Option<u32>,
    pub reason: Option<u64>,
    pub ticket: bool,
    pub record: Option<usize>,
    /// per, time, uses: times in minutes.
    pub budget: Option<(u64, Option<u64>, Option<u64>)>,
}

#[derive(Clone, Default, Debug)]
pub struct Rule {
    pub name: String,
    pub when: When,
    pub roles: Words,
    pub terms: Terms,
    pub break_glass: bool,
    /// Uses that may wait for a review.
    pub uses: u64,
    pub only_this_path: bool,
}

#[derive(Clone, Default, Debug)]
pub struct Model {
    pub roles: Vec<Role>,
    pub allows: Vec<Rule>,
    pub requires: Vec<Rule>,
    pub denies: Vec<Rule>,
}

pub const AUTH: [&str; 3] = ["none", "cached", "fresh"];
pub const RECORD: [&str; 3] = ["none", "activity", "terminal"];
pub const WHO: &[&str] = &["alice", "bob", "%g1", "%g2", "#1001", "%#11", "@team", "@person", "ALL"];
pub const ROLES: [&str; 4] = ["r0", "r1", "r2", "r3"];
const PROGRAMS: &[&str] = &["/usr/bin/x", "/usr/bin/y", "/usr/bin/{x,bash}", "/usr/bin/*", "/opt/z"];
const ELEMENTS: &[&str] = &[
    "a",
    "-v",
    "{a,-v}",
    "*",
    "a*",
    "<int:1-9>",
    "<any>",
    "...",
    "<any...>",
    "a...",
    "<secret>",
    "<path:/d>",
    "[0-9]",
    "*...",
];
/// Globs of `edit`; `naive_words` matches them in its own way.
const FILES: &[&str] = &["/e/a", "/e/*", "/e/**", "/e/**/a", "/e/{a,b}", "/e/?", "/**"];
const HOSTS: &[&str] = &["web-*", "db-1", "label:prod", "@set", "*.example.com"];
const ORIGINS: &[&str] = &["terminal", "no-terminal", "ssh", "console", "ssh:10.0.0.0/8", "sandbox", "unit:u.service"];

fn command(random: &mut Random) -> Words {
    if random.one_in(12) {
        return vec!["ALL"];
    }
    let mut words = vec![random.pick(PROGRAMS)];
    for _ in 0..random.below(4) {
        words.push(random.pick(ELEMENTS));
    }
    words
}

fn commands(random: &mut Random, most: usize) -> Vec<Words> {
    (0..=random.below(most)).map(|_| command(random)).collect()
}

fn when(random: &mut Random, depth: usize, restricts: bool) -> When {
    // Allows have fewer conditions, or hardly anything would be allowed.
    let rare = if restricts { 1 } else { 3 };
    let mut when = When {
        who: random.maybe(2, |random| random.some(WHO, 2)),
        hosts: random.maybe(rare * 5, |random| random.some(HOSTS, 2)),
        roles: if restricts { random.maybe(6, |random| random.some(&ROLES, 2)) } else { None },
        run: random.maybe(rare * 4, |random| commands(random, 2)),
        as_whom: random.maybe(rare * 7, |random| random.some(&["root", "bob", "ALL", "bob:g1", ":g1"], 2)),
        edit: random.maybe(rare * 7, |random| random.some(FILES, 2)),
        shell: random.maybe(rare * 9, |random| random.one_in(2)),
        origin: random.maybe(rare * 6, |random| random.some(ORIGINS, 3)),
        hours: random.maybe(rare * 7, |random| {
            let start = random.below(23) as u32;
            (start, start + 1 + random.below(24 - start as usize) as u32, random.one_in(3))
        }),
        not_after: random
            .maybe(9, |random| random.pick(&["2026-11-20T10:00:00Z", "2026-11-20T14:00:00Z", "2027-01-01T00:00:00Z"])),
        except: None,
    };
    if depth < 2 && random.one_in(4) {
        when.except = Some(Box::new(self::when(random, depth + 1, true)));
    }
    let empty = When::default();
    if format!("{when:?}") == format!("{empty:?}") {
        when.hosts = Some(vec!["web-*"]);
    }
    when
}

fn terms(random: &mut Random) -> Terms {
    Terms {
        window: random.maybe(3, |random| 60 * (1 + random.below(90) as u64)),
        run_time: random.maybe(4, |random| 60 * (1 + random.below(90) as u64)),
        auth: random.maybe(2, |random| random.below(3)),
        approvals: random.maybe(5, |random| 1 + random.below(3) as u32),
        reason: random.maybe(6, |random| 1 + random.below(6) as u64),
        ticket: random.one_in(9),
        record: random.maybe(3, |random| random.below(3)),
        budget: random.maybe(6, |random| {
            let per = 30 * (1 + random.below(8) as u64);
            let time = random.maybe(2, |random| 1 + random.below(90) as u64);
            let uses = if time.is_none() || random.one_in(3) { Some(1 + random.below(4) as u64) } else { None };
            (per, time, uses)
        }),
    }
}

pub fn restriction(random: &mut Random, name: String) -> Rule {
    let mut rule = Rule { name, when: when(random, 0, true), terms: terms(random), ..Rule::default() };
    rule.only_this_path = random.one_in(3);
    if rule.terms.window.is_none() {
        rule.terms.window = Some(3600);
    }
    rule
}

pub fn model(random: &mut Random, allows: usize) -> Model {
    let mut model = Model::default();
    for (at, name) in ROLES.into_iter().enumerate() {
        let groups = random.one_in(8);
        model.roles.push(Role {
            name,
            run: if groups { vec![] } else { commands(random, 3) },
            shell: !groups && random.one_in(3),
            as_whom: if random.one_in(3) {
                random.some(&["root", "bob", "ALL", "bob:g1", ":g1", "ALL:ALL"], 2)
            } else {
                vec![]
            },
            includes: if at > 0 && random.one_in(3) { vec![ROLES[random.below(at)]] } else { vec![] },
            any_cwd: random.one_in(3),
            env_keep: if random.one_in(2) { vec!["FOO", "B*"] } else { vec![] },
            groups,
            edit: if random.one_in(2) { random.some(FILES, 2) } else { vec![] },
            create: random.one_in(2),
        });
    }
    for at in 0..allows {
        let mut rule = Rule {
            name: format!("allow {at}"),
            when: when(random, 0, false),
            roles: random.some(&ROLES, 2),
            terms: terms(random),
            ..Rule::default()
        };
        rule.when.who.get_or_insert_with(|| vec!["alice", "%g1", "ALL"]);
        rule.break_glass = random.one_in(6);
        rule.uses = 1 + random.below(2) as u64;
        model.allows.push(rule);
    }
    for at in 0..random.below(3) {
        model.requires.push(restriction(random, format!("require {at}")));
    }
    for at in 0..random.below(3) {
        model.denies.push(restriction(random, format!("deny {at}")));
    }
    model
}

fn list(words: &[&str]) -> String {
    format!("{words:?}")
}

fn when_keys(when: &When) -> Vec<String> {
    let mut keys = Vec::new();
    let mut add = |key: &str, words: &Option<Words>| {
        if let Some(words) = words {
            keys.push(format!("{key} = {}", list(words)));
        }
    };
    add("who", &when.who);
    add("hosts", &when.hosts);
    add("roles", &when.roles);
    add("as", &when.as_whom);
    add("origin", &when.origin);
    if let Some(run) = &when.run {
        keys.push(format!("run = [{}]", run.iter().map(|words| list(words)).collect::<Vec<_>>().join(", ")));
    }
    if let Some(edit) = &when.edit {
        keys.push(format!("edit = {}", list(edit)));
    }
    if let Some(shell) = when.shell {
        keys.push(format!("shell = {shell}"));
    }
    if let Some((start, stop, cut)) = when.hours {
        keys.push(format!(
            "hours = [{{ start = \"{start:02}:00\", stop = \"{stop:02}:00\", zone = \"UTC\", cut = {cut} }}]"
        ));
    }
    if let Some(instant) = when.not_after {
        keys.push(format!("not-after = \"{instant}\""));
    }
    if let Some(except) = &when.except {
        keys.push(format!("except = {{ {} }}", when_keys(except).join(", ")));
    }
    keys
}

fn terms_keys(terms: &Terms) -> Vec<String> {
    let mut keys = Vec::new();
    keys.extend(terms.window.map(|seconds| format!("window = \"{seconds}s\"")));
    keys.extend(terms.run_time.map(|seconds| format!("run-time = \"{seconds}s\"")));
    keys.extend(terms.auth.map(|auth| format!("auth = \"{}\"", AUTH[auth])));
    keys.extend(terms.approvals.map(|count| format!("approval = {{ by = \"@team\", count = {count} }}")));
    keys.extend(terms.reason.map(|length| format!("reason = {{ min-length = {length} }}")));
    keys.extend(terms.record.map(|record| format!("record = \"{}\"", RECORD[record])));
    if let Some((per, time, uses)) = terms.budget {
        let time = time.map_or_else(String::new, |time| format!(", time = \"{time}m\""));
        let uses = uses.map_or_else(String::new, |uses| format!(", uses = {uses}"));
        keys.push(format!("budget = {{ per = \"{per}m\"{time}{uses} }}"));
    }
    if terms.ticket {
        keys.push("ticket = { pattern = \"^T[0-9]+$\" }".to_owned());
    }
    keys
}

/// The tables of the model, each a text of its own: their order is the caller's.
pub fn tables(model: &Model) -> Vec<String> {
    let mut tables = vec![
        "[people.person]\naccounts = [\"bob\", \"#1003\"]\n".to_owned(),
        "[teams.team]\nmembers = [\"@person\", \"%g2\"]\n".to_owned(),
        "[hosts.set]\nmembers = [\"db-*\", \"label:test\"]\n".to_owned(),
    ];
    for role in &model.roles {
        let mut text = format!("[roles.{}]\n", role.name);
        if role.groups {
            text.push_str("groups = [\"docker\"]\n");
        }
        if !role.run.is_empty() {
            writeln!(text, "run = [{}]", role.run.iter().map(|words| list(words)).collect::<Vec<_>>().join(", "))
                .unwrap();
        }
        if role.shell {
            text.push_str("shell = true\n");
        }
        for (key, words) in [("as", &role.as_whom), ("includes", &role.includes), ("env-keep", &role.env_keep)] {
            if !words.is_empty() {
                writeln!(text, "{key} = {}", list(words)).unwrap();
            }
        }
        if !role.edit.is_empty() {
            writeln!(text, "edit = {}\ncreate = {}", list(&role.edit), role.create).unwrap();
        }
        if role.any_cwd {
            text.push_str("cwd = \"any\"\n");
        }
        tables.push(text);
    }
    for (verb, rules) in [("allow", &model.allows), ("require", &model.requires), ("deny", &model.denies)] {
        for rule in rules {
            let mut keys = vec![format!("name = {:?}", rule.name)];
            keys.extend(when_keys(&rule.when));
            if verb == "allow" {
                keys.push(format!("roles = {}", list(&rule.roles)));
            }
            if verb != "deny" {
                keys.extend(terms_keys(&rule.terms));
            } else if rule.only_this_path {
                keys.push("only-this-path = true".to_owned());
            }
            if rule.break_glass {
                let uses = rule.uses;
                keys.push(format!("break-glass = {{ window = \"7m\", uses = {uses}, reviewers = \"@team\" }}"));
            }
            tables.push(format!("[[{verb}]]\n{}\n", keys.join("\n")));
        }
    }
    tables
}
