//! Which variables may pass, which are the host's to set, and which choose code that runs.

/// Kept whatever they hold.
const KEEP: &[&str] = &[
    "COLORS",
    "DISPLAY",
    // Debian's addition.
    "DPKG_COLORS",
    "HOSTNAME",
    "KRB5CCNAME",
    "LS_COLORS",
    "PS1",
    "PS2",
    "XAUTHORITY",
    "XAUTHORIZATION",
    "XDG_CURRENT_DESKTOP",
];
/// Kept where the value holds neither `/` nor `%`.
const CHECK: &[&str] = &["COLORTERM", "LANG", "LANGUAGE", "LINGUAS", "TERM", "TZ"];
/// Set by us from the databases and the request, so never taken from anybody.
const OURS: &[&str] = &[
    "HOME",
    "LOGNAME",
    "MAIL",
    "PATH",
    "SHELL",
    "USER",
    "SUDO_COMMAND",
    "SUDO_GID",
    "SUDO_HOME",
    "SUDO_PS1",
    "SUDO_TTY",
    "SUDO_UID",
    "SUDO_USER",
    "JITSUDO_ID",
    "JITSUDO_USER",
];
/// Variables by which a caller chooses code, files or name services of the command.
const HOSTILE: &[&str] = &[
    "_",
    "IFS",
    "CDPATH",
    "ENV",
    "BASH_ENV",
    "BASHOPTS",
    "SHELLOPTS",
    "PS4",
    "PROMPT_COMMAND",
    "GLOBIGNORE",
    "FPATH",
    "NULLCMD",
    "READNULLCMD",
    "ZDOTDIR",
    "TMPPREFIX",
    "LOCALDOMAIN",
    "RES_OPTIONS",
    "HOSTALIASES",
    "NLSPATH",
    "PATH_LOCALE",
    "GCONV_PATH",
    "LOCPATH",
    "GETCONF_DIR",
    "TZDIR",
    "NIS_PATH",
    "MALLOC_TRACE",
    "MALLOC_CHECK_",
    "SHLIB_PATH",
    "LIBPATH",
    "AUTHSTATE",
    "KRB5_CONFIG",
    "KRB5_KTNAME",
    "KRBTKFILE",
    "KRBCONFDIR",
    "KRBTKFILE",
    "VAR_ACE",
    "USR_ACE",
    "DLC_ACE",
    "TERMINFO",
    "TERMINFO_DIRS",
    "TERMPATH",
    "TERMCAP",
    "CLASSPATH",
    "JAVA_TOOL_OPTIONS",
    "JDK_JAVA_OPTIONS",
    "_JAVA_OPTIONS",
    "JAVA_OPTIONS",
    "JAVA_OPTS",
    "JAVA_HOME",
    "RUBYLIB",
    "RUBYOPT",
    "GEM_PATH",
    "GEM_HOME",
    "BUNDLE_GEMFILE",
    "NODE_OPTIONS",
    "NODE_PATH",
    "EDITOR",
    "VISUAL",
    "SUDO_EDITOR",
    "PAGER",
    "MANPAGER",
    "SYSTEMD_PAGER",
    "GIT_PAGER",
    "LESSOPEN",
    "LESSCLOSE",
    "LESSEDIT",
    "LESS",
    "BROWSER",
    "INPUTRC",
    "TMPDIR",
    "TMP",
    "TEMP",
    "POSIXLY_CORRECT",
    "OPENSSL_CONF",
    "OPENSSL_MODULES",
    "OPENSSL_ENGINES",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "SSLKEYLOGFILE",
    "CURL_HOME",
    "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "PKG_CONFIG_PATH",
    "MAKEFLAGS",
    "MAKEFILES",
    "GNUMAKEFLAGS",
    "CC",
    "CXX",
    "CFLAGS",
    "LDFLAGS",
    "RUSTC_WRAPPER",
    "RUSTFLAGS",
    "GOFLAGS",
    "GOPATH",
    "LUA_PATH",
    "LUA_CPATH",
    "LUA_INIT",
    "PHPRC",
    "PHP_INI_SCAN_DIR",
    "TCLLIBPATH",
    "R_HOME",
    "R_PROFILE",
    "R_ENVIRON",
    "OCAMLLIB",
    "CAML_LD_LIBRARY_PATH",
    "ERL_LIBS",
    "ERL_AFLAGS",
    "GTK_MODULES",
    "GTK_PATH",
    "GTK2_MODULES",
    "GTK3_MODULES",
    "GIO_EXTRA_MODULES",
    "GIO_MODULE_DIR",
    "GI_TYPELIB_PATH",
    "QT_PLUGIN_PATH",
    "QML2_IMPORT_PATH",
    "QML_IMPORT_PATH",
    "VIMINIT",
    "EXINIT",
    "VIM",
    "VIMRUNTIME",
    "EMACSLOADPATH",
    "EMACSDATA",
    "PGSYSCONFDIR",
    "PGSERVICEFILE",
    "PGPASSFILE",
    "MYSQL_HOME",
    "LIBMYSQL_PLUGINS",
    "DOCKER_HOST",
    "DOCKER_CONFIG",
    "KUBECONFIG",
    "DBUS_SESSION_BUS_ADDRESS",
    "DBUS_SYSTEM_BUS_ADDRESS",
    "XDG_RUNTIME_DIR",
    "XDG_CONFIG_HOME",
    "XDG_CONFIG_DIRS",
    "XDG_DATA_HOME",
    "XDG_DATA_DIRS",
    "XDG_CACHE_HOME",
    "SYSTEMD_EDITOR",
    "SYSTEMD_UNIT_PATH",
    "NOTIFY_SOCKET",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "MODULEPATH",
    "FAKEROOTKEY",
    "QUOTING_STYLE",
    "APT_CONFIG",
    "DPKG_ROOT",
    "DPKG_ADMINDIR",
    "RSYNC_RSH",
    "CVS_RSH",
    "SVN_SSH",
    "SSH_ASKPASS",
    "SSH_AUTH_SOCK",
    "SSH_SK_HELPER",
    "SUDO_ASKPASS",
    "ANSIBLE_CONFIG",
    "RESOLV_HOST_CONF",
    "RESOLV_MULTI",
    "RESOLV_ADD_TRIM_DOMAINS",
    "RESOLV_OVERRIDE_TRIM_DOMAINS",
    "BLOCKSIZE",
    "TAR_OPTIONS",
    "GZIP",
    "BZIP",
    "XZ_OPT",
    "ZIPOPT",
    "UNZIP",
    "TAPE",
    "RIPGREP_CONFIG_PATH",
    "GREP_OPTIONS",
    "WGETRC",
    "SCREENRC",
    "TMUX",
    "STY",
    "MC_DATADIR",
    "NMAPDIR",
    "PSQL_EDITOR",
    "PSQLRC",
    "SQLITE_HISTORY",
    "DENO_DIR",
    "EXECIGNORE",
    "HISTFILE",
    "GUILE_LOAD_PATH",
    "GUILE_LOAD_COMPILED_PATH",
    "JULIA_LOAD_PATH",
    "AWKPATH",
    "AWKLIBPATH",
    "MORE",
    "MYVIMRC",
    "NANORC",
    "MANOPT",
    "MANROFFOPT",
    "GROFF_TMAC_PATH",
    "GNUTLS_SYSTEM_PRIORITY_FILE",
    "HGRCPATH",
    "HGUSER",
    "GOROOT",
    "CMAKE_PREFIX_PATH",
    "COMPILER_PATH",
    "LIBRARY_PATH",
    "CPATH",
    "C_INCLUDE_PATH",
    "CPLUS_INCLUDE_PATH",
    "VIRTUAL_ENV",
    "XDG_STATE_HOME",
    "INVOCATION_ID",
    "MANAGERPID",
    "CREDENTIALS_DIRECTORY",
    "MEMORY_PRESSURE_WATCH",
    "PULSE_SERVER",
    "WAYLAND_SOCKET",
    "DEBCONF_DB_OVERRIDE",
    "TAR_LONGLINK_100",
    "XZ_DEFAULTS",
    "BZIP2",
    "ZSTD_CLEVEL",
    "SCREENDIR",
    "TMUX_TMPDIR",
    "FAKECHROOT",
    "MODULESHOME",
    "FZF_DEFAULT_OPTS",
    "TIME_STYLE",
];
/// Beginnings of such names.
const HOSTILE_BEGINNINGS: &[&str] = &[
    "LD_",
    "_RLD",
    "DYLD_",
    "LDR_",
    "BASH_",
    "BASH_FUNC_",
    "PERL",
    "PYTHON",
    "RUBY",
    "NODE_",
    "NPM_",
    "npm_",
    "JAVA_",
    "JDK_",
    "GLIBC_",
    "MALLOC_",
    "GIT_",
    "LESS",
    "KRB5_",
    "TERMINFO",
    "RES_",
    "RESOLV_",
    "GCONV_",
    "OPENSSL_",
    "GTK_",
    "QT_",
    "GST_",
    "LUA_",
    "PHP_",
    "R_LIBS",
    "CARGO_",
    "RUSTC_",
    "RUSTUP_",
    "GO111",
    "PIP_",
    "CONDA_",
    "SUDO_",
    "JITSUDO_",
    "SYSTEMD_",
    "DOCKER_",
    "KUBE",
    "COR_",
    "CORECLR_",
    "DOTNET_",
    "MONO_",
    "ASAN_",
    "UBSAN_",
    "TSAN_",
    "LSAN_",
    "MSAN_",
    "GCC_",
    "GNUPG",
    "GPG_",
    "DEBUGINFOD_",
    "ELECTRON_",
    "SSH_",
    "APT_",
    "DPKG_",
    "VAULT_",
    "AWS_",
    "ZSH_",
];

fn lists(list: &[&str], name: &[u8]) -> bool {
    list.iter().any(|one| one.as_bytes() == name)
}

/// Letters, digits and `_`, not beginning with a digit: no `%%` of exported functions, no newline, no `=`.
pub(super) fn is_name(name: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    !name.is_empty() && name.len() <= 256 && name.iter().all(plain) && !name.first().is_some_and(u8::is_ascii_digit)
}

/// True for names that the host sets.
pub(super) fn is_ours(name: &[u8]) -> bool {
    lists(OURS, name) || name.starts_with(b"SUDO_") || name.starts_with(b"JITSUDO_")
}

/// True for a variable by which a caller chooses code, configuration or libraries of a command.
///
/// ```
/// use jitsudo_core::environment::is_hostile;
/// assert!(is_hostile(b"LD_PRELOAD") && is_hostile(b"BASH_ENV") && !is_hostile(b"LANG"));
/// ```
#[must_use]
pub fn is_hostile(name: &[u8]) -> bool {
    lists(HOSTILE, name) || HOSTILE_BEGINNINGS.iter().any(|beginning| name.starts_with(beginning.as_bytes()))
}

pub(super) fn is_kept_by_default(name: &[u8]) -> bool {
    lists(KEEP, name) || is_checked(name)
}

fn is_checked(name: &[u8]) -> bool {
    lists(CHECK, name) || name.starts_with(b"LC_")
}

/// The entry of `env-keep` that names it: exactly, or by a pattern that no hostile name passes.
pub(super) fn is_kept_by<'a>(name: &[u8], keep: &'a [String]) -> Option<&'a str> {
    let entry = keep.iter().find(|keep| match keep.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning.as_bytes()) && !is_hostile(name),
        None => keep.as_bytes() == name,
    });
    entry.map(String::as_str)
}

/// PAM's session variables pass as the caller's do, and the few that sessions are about; never what chooses code.
pub(super) fn may_come_from_pam(name: &[u8]) -> bool {
    let of_sessions = [&b"XDG_SESSION_ID"[..], b"XDG_SESSION_TYPE", b"XDG_SESSION_CLASS", b"XDG_SEAT", b"XDG_VTNR"];
    !is_ours(name) && !is_hostile(name) && (is_kept_by_default(name) || of_sessions.contains(&name))
}

/// Judges a value: no function, and for the checked names nothing that is a path or a format.
pub(super) fn is_sound(name: &[u8], value: &[u8]) -> bool {
    if value.starts_with(b"()") || value.contains(&0) {
        return false;
    }
    match name {
        b"TERM" => !value.is_empty() && value.iter().all(|byte| byte.is_ascii_alphanumeric() || b"._+-".contains(byte)),
        b"TZ" => is_sound_zone(value),
        _ if is_checked(name) => !value.iter().any(|byte| matches!(byte, b'/' | b'%')),
        _ => true,
    }
}

/// As sudo's `tz_is_sane`: below /usr/share/zoneinfo, no `..`, nothing but printable characters.
fn is_sound_zone(value: &[u8]) -> bool {
    let zone = value.strip_prefix(b":").unwrap_or(value);
    let inside = !zone.starts_with(b"/") || zone.starts_with(b"/usr/share/zoneinfo/");
    let climbs = zone.split(|byte| *byte == b'/').any(|part| part == b"..");
    inside && !climbs && zone.len() < 256 && zone.iter().all(u8::is_ascii_graphic)
}
