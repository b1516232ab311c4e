//! What runs elsewhere: infrastructure, clusters, cloud accounts, package registries.

use super::{super::Danger, Judge};

const TAKES_DOWN: &str = "it takes deployed infrastructure down";
const DELETES_RUNNING: &str = "it deletes what runs in containers or in a cluster, with its data";
const DELETES_CLOUD: &str = "it deletes something that is kept in the cloud";
const PUBLISHES: &str = "it publishes a package or takes one back, for everybody";

pub(super) fn judge(judge: &mut Judge<'_>) {
    if infrastructure(judge) {
        judge.add(Danger::Infrastructure, TAKES_DOWN);
    }
    if containers(judge) || cluster(judge) {
        judge.add(Danger::Containers, DELETES_RUNNING);
    }
    if cloud(judge) {
        judge.add(Danger::Cloud, DELETES_CLOUD);
    }
    if package(judge) {
        judge.add(Danger::Package, PUBLISHES);
    }
}

fn infrastructure(judge: &Judge<'_>) -> bool {
    match judge.program() {
        "terraform" | "tofu" | "terragrunt" | "tf" => {
            judge.any(&["destroy"])
                || judge.any(&["apply"]) && judge.any(&["-destroy", "--destroy"])
                || judge.sub(&["state", "rm"])
                || judge.sub(&["workspace", "delete"])
                || judge.sub(&["force-unlock"])
        }
        "pulumi" => judge.sub(&["destroy"]) || judge.sub(&["stack", "rm"]) || judge.sub(&["down"]),
        "cdk" | "cdktf" | "vagrant" | "copilot" => judge.any(&["destroy"]) || judge.sub(&["app", "delete"]),
        "serverless" | "sls" | "sst" => judge.sub(&["remove"]),
        "sam" => judge.sub(&["delete"]),
        "virsh" => judge.sub(&["destroy"]) || judge.sub(&["undefine"]),
        "ansible-playbook" => judge.any_start(&["destroy", "teardown"]),
        _ => false,
    }
}

fn containers(judge: &Judge<'_>) -> bool {
    match judge.program() {
        "docker" | "podman" | "nerdctl" => {
            judge.any(&["prune"])
                || judge.sub(&["volume", "rm"])
                || judge.sub(&["swarm", "leave"])
                || judge.sub(&["stack", "rm"])
                || judge.sub(&["rmi"])
                || judge.sub(&["kill"])
                || judge.sub(&["image", "rm"])
                || (judge.sub(&["rm"]) || judge.sub(&["container", "rm"]))
                    && (judge.has('f', "force") || judge.has('v', "volumes"))
                || judge.any(&["compose"]) && compose_down(judge)
        }
        "docker-compose" | "podman-compose" => compose_down(judge),
        "crictl" => judge.sub(&["rm"]) || judge.sub(&["rmi"]),
        "lxc" | "incus" => judge.sub(&["delete"]),
        _ => false,
    }
}

fn compose_down(judge: &Judge<'_>) -> bool {
    judge.any(&["down"]) && (judge.has('v', "volumes") || judge.any_start(&["--rmi"]))
        || judge.any(&["rm"]) && judge.has('f', "force")
}

fn cluster(judge: &Judge<'_>) -> bool {
    match judge.program() {
        "kubectl" | "oc" | "k" => {
            judge.any(&["delete", "drain"])
                || judge.sub(&["replace"]) && judge.any(&["--force"])
                || judge.sub(&["apply"]) && judge.any_start(&["--prune"])
                || judge.sub(&["scale"]) && judge.any_start(&["--replicas=0"])
        }
        "helm" => judge.any(&["uninstall", "delete"]),
        "kind" | "k3d" | "minikube" | "eksctl" | "kops" | "argocd" | "flux" => {
            judge.any(&["delete", "uninstall"])
        }
        "kubeadm" => judge.sub(&["reset"]),
        "nomad" => judge.sub(&["job", "stop"]) || judge.sub(&["system", "gc"]),
        _ => false,
    }
}

fn cloud(judge: &Judge<'_>) -> bool {
    let removal = |text: &str| {
        ["delete", "terminate", "destroy", "deregister", "purge", "remove"]
            .iter()
            .any(|verb| text.strip_prefix(verb).is_some_and(|rest| rest.is_empty() || rest.starts_with('-')))
    };
    match judge.program() {
        "aws" => aws(judge) || judge.names().any(removal),
        "gcloud" | "az" | "doctl" | "hcloud" | "oci" | "ibmcloud" | "linode-cli" | "scw" | "exo"
        | "vultr-cli" => judge.names().any(removal) || judge.any(&["storage"]) && judge.any(&["rm"]),
        "gsutil" => judge.any(&["rm", "rb"]),
        "bq" => judge.any(&["rm"]),
        "s3cmd" => judge.any(&["rb", "del", "rm"]),
        "mc" => judge.sub(&["rb"]) || judge.sub(&["rm"]),
        "rclone" => judge.any(&["purge", "delete", "deletefile", "rmdir", "rmdirs", "sync"]),
        "heroku" | "netlify" | "firebase" => judge.names().next().is_some_and(|verb| {
            [":destroy", ":delete", ":reset", ":remove", ":disable"].iter().any(|end| verb.ends_with(end))
        }),
        "fly" | "flyctl" | "railway" | "render" => judge.any(&["destroy", "delete", "down"]),
        "vercel" | "now" => judge.any(&["rm", "remove"]),
        "wrangler" => judge.any(&["delete"]),
        "gh" | "glab" => judge.names().nth(1) == Some("delete") || api_deletes(judge),
        "curl" | "http" | "xh" => api_deletes(judge),
        _ => false,
    }
}

fn aws(judge: &Judge<'_>) -> bool {
    judge.any(&["s3"]) && (judge.any(&["rb", "rm"]) || judge.any(&["sync"]) && judge.any(&["--delete"]))
}

/// An HTTP `DELETE` to another machine.
fn api_deletes(judge: &Judge<'_>) -> bool {
    let method = judge.any(&["DELETE", "-XDELETE", "--request=DELETE", "--method=DELETE"]);
    let here =
        judge.texts().any(|text| ["localhost", "127.0.0.1", "[::1]"].iter().any(|host| text.contains(host)));
    method && !here
}

fn package(judge: &Judge<'_>) -> bool {
    if judge.any(&["--dry-run", "-n"]) || judge.any(&["--help"]) {
        return false;
    }
    match judge.program() {
        "cargo" => {
            judge.any(&["yank", "publish"])
                || judge.any(&["owner"]) && judge.any_start(&["--remove", "--add", "-r", "-a"])
        }
        "npm" | "yarn" | "pnpm" | "bun" | "lerna" | "jsr" | "deno" => {
            judge.names().take(2).any(|verb| matches!(verb, "publish" | "unpublish" | "deprecate"))
        }
        "twine" | "maturin" | "anaconda" | "cabal" | "luarocks" | "snapcraft" => {
            judge.any(&["upload", "publish"])
        }
        "poetry" | "uv" | "flit" | "hatch" | "pdm" => judge.sub(&["publish"]),
        "gem" => judge.sub(&["push"]) || judge.sub(&["yank"]),
        "mvn" | "mvnw" => judge.any(&["deploy", "release:perform"]),
        "gradle" | "gradlew" => judge.any_start(&["publish"]),
        "dotnet" => judge.sub(&["nuget", "push"]) || judge.sub(&["nuget", "delete"]),
        "nuget" | "helm" => judge.sub(&["push"]) || judge.program() == "nuget" && judge.sub(&["delete"]),
        "vsce" | "ovsx" | "semantic-release" | "changeset" => {
            judge.any(&["publish", "unpublish"]) || judge.program() == "semantic-release"
        }
        "mix" => judge.any(&["hex.publish", "hex.retire"]),
        "goreleaser" => judge.sub(&["release"]) && !judge.any(&["--snapshot"]),
        _ => false,
    }
}
