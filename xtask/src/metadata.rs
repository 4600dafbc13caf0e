//! The package graph, read from `cargo metadata`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::failure::{Context, Failure, Result};
use crate::process::cargo;

/// Where the repository and its build output are.
#[derive(Debug)]
pub(crate) struct Workspace {
    /// Folder of the workspace's `Cargo.toml`.
    pub(crate) root: PathBuf,
    /// Where cargo puts what it builds.
    pub(crate) target: PathBuf,
}

impl Workspace {
    /// Asks cargo, from the current folder.
    pub(crate) fn locate() -> Result<Self> {
        let metadata = read(&["--no-deps"])?;
        Ok(Self { root: metadata.workspace_root, target: metadata.target_directory })
    }
}

/// The packages of the workspace with what they declare, and the resolved graph of everything.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    /// The workspace's own packages.
    pub(crate) members: Vec<Member>,
    /// Every package in use, by cargo's package id.
    pub(crate) resolved: BTreeMap<String, Resolved>,
}

/// A package of the workspace.
#[derive(Debug)]
pub(crate) struct Member {
    /// Cargo's package id.
    pub(crate) id: String,
    /// Package name.
    pub(crate) name: String,
    /// Its folder below the workspace root, with forward slashes: `crates/core`.
    pub(crate) folder: String,
    /// What its manifest names, optional dependencies included.
    pub(crate) dependencies: Vec<Declared>,
}

/// A dependency as the manifest names it.
#[derive(Debug)]
pub(crate) struct Declared {
    /// The package's own name, whatever it is renamed to.
    pub(crate) name: String,
    /// What it is needed for.
    pub(crate) kind: Kind,
}

/// What a dependency is needed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `[dependencies]`
    Normal,
    /// `[build-dependencies]`
    Build,
    /// `[dev-dependencies]`
    Development,
}

/// A package in the resolved graph.
#[derive(Debug)]
pub(crate) struct Resolved {
    /// Package name.
    pub(crate) name: String,
    /// Ids of the packages it needs at run time.
    pub(crate) normal: Vec<String>,
}

impl Graph {
    /// Asks cargo for the graph with every feature on, so that nothing hides behind one.
    pub(crate) fn load() -> Result<Self> {
        Self::from_metadata(read(&["--all-features"])?)
    }

    fn from_metadata(metadata: Metadata) -> Result<Self> {
        let mut names = BTreeMap::new();
        let mut members = Vec::new();
        for package in metadata.packages {
            names.insert(package.id.clone(), package.name.clone());
            if metadata.workspace_members.contains(&package.id) {
                members.push(package.into_member(&metadata.workspace_root)?);
            }
        }
        let resolve =
            metadata.resolve.ok_or_else(|| Failure::new("cargo metadata has no graph"))?;
        let resolved = resolve.nodes.into_iter().map(|node| node.into_resolved(&names)).collect();
        Ok(Self { members, resolved })
    }
}

fn read(arguments: &[&str]) -> Result<Metadata> {
    let output = cargo()
        .args(["metadata", "--format-version", "1"])
        .args(arguments)
        .output()
        .context(|| "cargo metadata could not be started".into())?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(Failure::new(format!("cargo metadata failed: {}", text.trim())));
    }
    serde_json::from_slice(&output.stdout).context(|| "reading cargo metadata".into())
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_members: Vec<String>,
    workspace_root: PathBuf,
    target_directory: PathBuf,
    resolve: Option<Resolve>,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    manifest_path: PathBuf,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Link>,
}

#[derive(Deserialize)]
struct Link {
    pkg: String,
    dep_kinds: Vec<LinkKind>,
}

#[derive(Deserialize)]
struct LinkKind {
    kind: Option<String>,
}

impl Package {
    fn into_member(self, root: &Path) -> Result<Member> {
        let folder = self
            .manifest_path
            .parent()
            .and_then(|folder| folder.strip_prefix(root).ok())
            .ok_or_else(|| Failure::new(format!("{} lies outside the workspace", self.name)))?;
        let parts: Vec<_> = folder.iter().map(|part| part.to_string_lossy()).collect();
        Ok(Member {
            id: self.id,
            name: self.name,
            folder: parts.join("/"),
            dependencies: self.dependencies.into_iter().map(Dependency::into_declared).collect(),
        })
    }
}

impl Dependency {
    fn into_declared(self) -> Declared {
        Declared { name: self.name, kind: kind(self.kind.as_deref()) }
    }
}

impl Node {
    fn into_resolved(self, names: &BTreeMap<String, String>) -> (String, Resolved) {
        let name = names.get(&self.id).cloned().unwrap_or_else(|| self.id.clone());
        let normal = self.deps.into_iter().filter(Link::is_normal).map(|link| link.pkg).collect();
        (self.id, Resolved { name, normal })
    }
}

impl Link {
    fn is_normal(&self) -> bool {
        self.dep_kinds.iter().any(|link| kind(link.kind.as_deref()) == Kind::Normal)
    }
}

/// Cargo writes no kind at all for a normal dependency.
fn kind(text: Option<&str>) -> Kind {
    match text {
        Some("dev") => Kind::Development,
        Some("build") => Kind::Build,
        _ => Kind::Normal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const METADATA: &str = r#"{
        "packages": [
            {"id": "a#1", "name": "a", "manifest_path": "/w/crates/a/Cargo.toml", "dependencies": [
                {"name": "serde", "kind": null}, {"name": "proptest", "kind": "dev"}, {"name": "cc", "kind": "build"}]},
            {"id": "serde#1", "name": "serde", "manifest_path": "/r/serde/Cargo.toml", "dependencies": []}],
        "workspace_members": ["a#1"], "workspace_root": "/w", "target_directory": "/w/target",
        "resolve": {"nodes": [
            {"id": "a#1", "deps": [
                {"pkg": "serde#1", "dep_kinds": [{"kind": null}]},
                {"pkg": "proptest#1", "dep_kinds": [{"kind": "dev"}]}]},
            {"id": "serde#1", "deps": []}]}}"#;

    #[test]
    fn members_carry_their_folder_and_the_kind_of_each_dependency() {
        let graph = Graph::from_metadata(serde_json::from_str(METADATA).unwrap()).unwrap();
        assert_eq!(graph.members.len(), 1);
        assert_eq!(graph.members[0].folder, "crates/a");
        let kinds: Vec<_> = graph.members[0].dependencies.iter().map(|one| one.kind).collect();
        assert_eq!(kinds, [Kind::Normal, Kind::Development, Kind::Build]);
    }

    #[test]
    fn the_resolved_graph_keeps_only_what_is_needed_at_run_time() {
        let graph = Graph::from_metadata(serde_json::from_str(METADATA).unwrap()).unwrap();
        assert_eq!(graph.resolved["a#1"].normal, ["serde#1"]);
        assert_eq!(graph.resolved["serde#1"].name, "serde");
    }
}
