//! The running system: its processes, its kernel, its users and their rights.

use super::{
    super::{Danger, word::OUTPUT},
    Judge,
};

const CHANGES: &str = "it changes the running system";

pub(super) fn judge(judge: &mut Judge<'_>) {
    processes(judge);
    privilege(judge);
    let changes = match judge.program() {
        "insmod" | "rmmod" | "modprobe" | "kexec" | "swapoff" | "swapon" | "mount" | "umount"
        | "setenforce" | "visudo" | "useradd" | "userdel" | "usermod" | "groupadd" | "groupdel"
        | "adduser" | "deluser" | "chpasswd" | "passwd" | "hwclock" | "update-grub" | "grub-install"
        | "efibootmgr" | "telinit" | "pivot_root" | "iptables-restore" | "vipw" => {
            names_something(judge)
                || matches!(judge.program(), "visudo" | "update-grub" | "vipw" | "chpasswd" | "passwd")
        }
        "reboot" | "shutdown" | "halt" | "poweroff" => !judge.any(&["--help"]),
        "init" => judge.any(&["0", "6", "1"]),
        "sysctl" => {
            judge.has('w', "write") || judge.has('p', "load") || judge.names().any(|name| name.contains('='))
        }
        "systemctl" | "service" | "rc-service" | "launchctl" => judge.any(&[
            "stop",
            "restart",
            "disable",
            "mask",
            "kill",
            "isolate",
            "reboot",
            "poweroff",
            "halt",
            "rescue",
            "emergency",
            "unload",
            "bootout",
            "suspend",
            "hibernate",
        ]),
        "iptables" | "ip6tables" | "nft" | "ufw" | "firewall-cmd" => {
            judge.any_start(&["-F", "-A", "-D", "-I", "-P", "-X", "--flush", "--add", "--remove"])
                || judge.any(&["flush", "add", "delete", "disable", "reset", "deny", "allow", "enable"])
        }
        "crontab" => {
            !judge.has('l', "") && (names_something(judge) || judge.has('r', "") || judge.has('e', ""))
        }
        "date" => judge.has('s', "set"),
        "timedatectl" | "hostnamectl" | "localectl" => judge.any_start(&["set-"]),
        "apt" | "apt-get" | "dnf" | "yum" | "zypper" | "apk" | "pacman" | "dpkg" | "rpm" => judge.any(&[
            "remove",
            "purge",
            "autoremove",
            "erase",
            "del",
            "-r",
            "-P",
            "-e",
            "-R",
            "-Rns",
            "-Rs",
            "--purge",
        ]),
        "ip" => judge.any(&["del", "delete", "flush", "down"]),
        "ulimit" => false,
        _ => false,
    };
    if changes {
        judge.add(Danger::System, CHANGES);
    }
}

fn names_something(judge: &Judge<'_>) -> bool {
    judge.names().next().is_some()
}

/// Processes that this line did not start.
fn processes(judge: &mut Judge<'_>) {
    let kills = match judge.program() {
        "pkill" | "killall" | "killall5" | "skill" | "xkill" | "taskkill" | "kill-port" => {
            !judge.any(&["-l", "--list", "--help", "-0"])
        }
        "fuser" => judge.has('k', "kill"),
        "tmux" => judge.any(&["kill-server", "kill-session"]),
        "loginctl" => judge.any_start(&["terminate", "kill"]),
        "kill" => !judge.any(&["-l", "-L", "-0", "--list"]) && targets(judge).into_iter().any(foreign),
        _ => false,
    };
    let given = judge.program() == "kill" && judge.simple.more;
    if kills || given {
        judge.add(Danger::Processes, "it kills processes that it did not start");
    }
}

/// What `kill` is aimed at: all but its signal.
fn targets<'a>(judge: &Judge<'a>) -> Vec<&'a str> {
    let mut words: Vec<&str> = judge.texts().collect();
    if words.first().is_some_and(|first| matches!(*first, "-s" | "-n" | "--signal")) {
        words.drain(..words.len().min(2));
    } else if words.first().is_some_and(|first| first.starts_with('-') && *first != "--") && words.len() > 1 {
        words.remove(0);
    }
    words.retain(|word| *word != "--");
    words
}

/// A number, or what another command printed. `%1`, `$!` and `$PID` are taken to be the line's own.
fn foreign(target: &str) -> bool {
    let digits = target.strip_prefix('-').unwrap_or(target);
    target.contains(OUTPUT) || !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit())
}

fn privilege(judge: &mut Judge<'_>) {
    let why = match judge.program() {
        "sudo" | "doas" | "pkexec" | "su" | "runuser" | "run0" | "gosu" | "su-exec" | "sudoedit"
        | "nsenter" | "chroot" => "it runs with another user's rights",
        "chmod" if judge.names().next().is_some_and(sets_user) => {
            "it lets a program run with its owner's rights"
        }
        "setcap" => "it gives a program rights of the superuser",
        "docker" | "podman" | "nerdctl" if escapes_container(judge) => {
            "it gives a container the machine it runs on"
        }
        _ => return,
    };
    judge.add(Danger::Privilege, why);
}

/// `u+s`, `4755`.
fn sets_user(mode: &str) -> bool {
    let octal = mode.len() == 4 && mode.chars().all(|c| c.is_digit(8)) && !mode.starts_with(['0', '1']);
    octal || mode.contains('+') && mode.rsplit('+').next().is_some_and(|rights| rights.contains('s'))
}

fn escapes_container(judge: &Judge<'_>) -> bool {
    let root = |text: &str| {
        let volume = text.trim_start_matches("-v").trim_start_matches("--volume=");
        volume.starts_with("/:")
            || volume.contains("docker.sock")
            || text.contains("source=/,")
            || text.contains("src=/,")
    };
    judge.any(&["run", "exec", "create"])
        && (judge.any_start(&["--privileged", "--pid=host", "--cap-add=ALL", "--cap-add=SYS_ADMIN"])
            || judge.texts().any(root))
}
