//! Files and disks that are wiped, and secrets that are read.

use super::{
    super::{
        Danger, paths,
        word::{OUTPUT, VARIABLE},
    },
    Judge,
};

/// Programs for which an argument is no file to read: it is printed, tested or looked for.
const NO_READERS: [&str; 19] = [
    "echo", "printf", "test", "[", "[[", "ls", "stat", "export", "alias", "read", "basename", "dirname",
    "realpath", "which", "true", ":", "mkdir", "cd", "pushd",
];

/// Programs whose first name is a pattern or a script.
const PATTERN_FIRST: [&str; 12] =
    ["grep", "egrep", "fgrep", "rg", "ag", "ack", "sed", "awk", "gawk", "jq", "yq", "git"];

pub(super) fn judge(judge: &mut Judge<'_>) {
    match judge.program() {
        "rm" | "srm" | "unlink" | "rimraf" | "trash" | "rmdir" => removal(judge),
        "shred" | "wipefs" | "wipe" | "blkdiscard" | "scrub" | "sfdisk" | "sgdisk" | "fdisk" | "parted"
        | "mkswap" | "zerofree"
            if !judge.any(&["-l", "--list", "--help", "--version", "print"]) =>
        {
            judge.add(Danger::Filesystem, "it overwrites files or disks beyond recovery");
        }
        program if program.starts_with("mkfs") || program == "mke2fs" || program == "newfs" => {
            judge.add(Danger::Filesystem, "it makes an empty file system of a disk");
        }
        "cryptsetup" if judge.any(&["luksFormat", "erase", "luksErase", "reencrypt"]) => {
            judge.add(Danger::Filesystem, "it makes an encrypted disk unreadable");
        }
        "lvremove" | "vgremove" | "pvremove" => {
            judge.add(Danger::Filesystem, "it removes a volume with its content")
        }
        "zfs" | "zpool" if judge.sub(&["destroy"]) => {
            judge.add(Danger::Filesystem, "it destroys a file system")
        }
        "btrfs" if judge.any(&["delete"]) => judge.add(Danger::Filesystem, "it deletes a subvolume"),
        "mdadm" if judge.any_start(&["--zero-superblock"]) => {
            judge.add(Danger::Filesystem, "it takes a disk array apart")
        }
        "hdparm" if judge.any_start(&["--security-erase"]) => {
            judge.add(Danger::Filesystem, "it erases a disk")
        }
        "dd" => disk_dump(judge),
        "find" if judge.any(&["-delete"]) => {
            judge.add(Danger::Filesystem, "it deletes every file that it finds")
        }
        "rsync" if judge.any_start(&["--delete", "--remove-source-files"]) => {
            judge.add(Danger::Filesystem, "it deletes what the other side does not have");
        }
        "mv" => moved(judge),
        "chmod" | "chown" | "chgrp" | "setfacl" if judge.has('R', "recursive") => recursive_rights(judge),
        _ => {}
    }
    disks(judge);
    secrets(judge);
}

/// `rm` and its like.
fn removal(judge: &mut Judge<'_>) {
    let recursive = judge.has('r', "recursive") || judge.has('R', "") || judge.program() == "rimraf";
    if judge.any(&["--no-preserve-root"]) {
        return judge.add(Danger::Filesystem, "it deletes the whole file system");
    }
    if judge.simple.more {
        return judge.add(Danger::Filesystem, "what it deletes is known only when it runs");
    }
    for name in judge.names() {
        let wild = name.contains('*');
        let everything = paths::broad(&judge.simple.directory, name).filter(|_| recursive || wild);
        let listed = name.contains(OUTPUT).then_some("what it deletes is known only when it runs");
        let sensitive =
            judge.sensitive(name).map(|_| "it deletes a file that the system or a person depends on");
        if let Some(why) = everything.or(listed).or(sensitive) {
            return judge.add(Danger::Filesystem, why);
        }
    }
}

fn disk_dump(judge: &mut Judge<'_>) {
    let outputs: Vec<&str> = judge.texts().filter_map(|text| text.strip_prefix("of=")).collect();
    for output in outputs {
        if paths::disk(output) {
            judge.add(Danger::Filesystem, "it overwrites a disk");
        } else if judge.sensitive(output).is_some() {
            judge.add(Danger::SensitiveWrite, "it overwrites a file that the system or a person depends on");
        }
    }
}

fn moved(judge: &mut Judge<'_>) {
    let names: Vec<&str> = judge.names().collect();
    let Some((target, sources)) = names.split_last() else { return };
    if *target == "/dev/null" {
        return judge.add(Danger::Filesystem, "it moves files to where nothing is kept");
    }
    let broad = sources.iter().find_map(|source| {
        paths::broad(&judge.simple.directory, source).filter(|_| !source.starts_with([VARIABLE, '.', '*']))
    });
    if broad.is_some() {
        judge.add(Danger::Filesystem, "it moves a directory away that others depend on");
    }
}

fn recursive_rights(judge: &mut Judge<'_>) {
    let names: Vec<&str> = judge.names().skip(1).collect();
    let broad = |name: &&str| {
        let outside = name.starts_with(['/', '~']) || name.starts_with("..");
        outside && paths::broad(&judge.simple.directory, name).is_some()
    };
    if names.iter().any(broad) {
        judge.add(Danger::Filesystem, "it changes who may use a large part of the system");
    }
}

/// A redirection, `tee` or `cp` onto a disk.
fn disks(judge: &mut Judge<'_>) {
    let opened = judge.simple.files.iter().any(|(writes, file)| *writes && paths::disk(file.as_str()));
    let named = matches!(judge.program(), "tee" | "cp") && judge.names().last().is_some_and(paths::disk);
    if opened || named {
        judge.add(Danger::Filesystem, "it overwrites a disk");
    }
}

/// Secrets among the files that are read.
fn secrets(judge: &mut Judge<'_>) {
    let opened = judge.simple.files.iter().filter(|(writes, _)| !writes).map(|(_, file)| file.as_str());
    let mut read: Vec<&str> = opened.collect();
    if !NO_READERS.contains(&judge.program()) && !writes_only(judge) {
        let pattern = usize::from(PATTERN_FIRST.contains(&judge.program()) && judge.program() != "git");
        let names = judge.names().skip(pattern);
        read.extend(names.flat_map(|name| name.strip_prefix('@').into_iter().chain([name])));
        read.extend(judge.texts().filter_map(|text| text.strip_prefix("if=")));
        read.extend(judge.options().filter_map(|text| Some(text.split_once('=')?.1)));
    }
    if matches!(judge.program(), "cp" | "mv" | "install" | "scp" | "rsync" | "ln") {
        let target = judge.names().last();
        read.retain(|path| Some(*path) != target);
    }
    let dumps =
        matches!(judge.program(), "dd" | "cat" | "cp" | "head" | "strings" | "xxd" | "od" | "hexdump");
    let secret = |path: &&str| {
        paths::secret(&paths::resolve(&judge.simple.directory, path)) || dumps && paths::disk(path)
    };
    if read.iter().any(secret) {
        return judge.add(Danger::SensitiveRead, "it reads a file that holds secrets");
    }
    let told = match judge.program() {
        "pass" => judge.sub(&["show"]),
        "gpg" | "gpg2" => judge.any_start(&["--export-secret"]),
        "vault" => judge.sub(&["kv", "get"]) || judge.sub(&["read"]),
        "op" => judge.sub(&["read"]) || judge.sub(&["item", "get"]),
        "aws" => judge.any(&["get-secret-value", "get-session-token", "get-login-password"]),
        "gcloud" => judge.any(&["print-access-token", "access"]) && judge.any(&["auth", "secrets"]),
        "gh" => judge.sub(&["auth", "token"]),
        "kubectl" | "oc" => judge.sub(&["get", "secret"]) || judge.sub(&["get", "secrets"]),
        "security" => judge.any_start(&["find-generic-password", "find-internet-password", "dump-keychain"]),
        _ => false,
    };
    if told {
        judge.add(Danger::SensitiveRead, "it prints a secret");
    }
}

/// Programs that only write what they name; `writes` judges them.
fn writes_only(judge: &Judge<'_>) -> bool {
    matches!(
        judge.program(),
        "tee" | "touch" | "rm" | "unlink" | "shred" | "truncate" | "chmod" | "chown" | "chgrp" | "rmdir"
    )
}
