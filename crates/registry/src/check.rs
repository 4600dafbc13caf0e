//! From text to plan.

use syntrix_storage_core::backend::StoreKind;
use syntrix_storage_core::{Location, SettingsNode};

use crate::diagnostic::{ConfigErrors, Source};
use crate::effective::effective;
use crate::environment::Environment;
use crate::factories::Factories;
use crate::finding::{Finding, join};
use crate::plan::{Route, StoragePlan, StorePlan};
use crate::report::Report;
use crate::routing::{RoutingSettings, Rules, no_such_block};
use crate::section::{BACKEND, Section};
use crate::{interpolate, yaml};

pub(crate) const STORAGE: &str = "storage";
pub(crate) const ROUTING: &str = "routing";

/// Most faults that are reported at once.
const FAULTS_MAX: usize = 100;

/// Checks a configuration and says what it means. Connects to nothing; reads the environment and the files it refers to.
///
/// `file_name` is for messages only.
///
/// # Errors
///
/// Everything that is wrong, not only the first fault. No message and no excerpt shows a value other than the words of our own
/// keys, so neither can reveal a secret.
///
/// # Examples
///
/// ```
/// use syntrix_storage_registry::{Factories, ProcessEnvironment, check};
///
/// let text = "storage:\n  document:\n    backend: sqlite\n    sqlite: {}\n";
/// let errors = check(text, "storage.yaml", &Factories::new(), &ProcessEnvironment::new(".")).unwrap_err();
/// assert!(errors.to_string().starts_with("storage.yaml:4:5: error: storage.document.sqlite: there is no backend of kind"));
/// ```
pub fn check(
    text: &str,
    file_name: &str,
    factories: &Factories,
    environment: &dyn Environment,
) -> Result<StoragePlan, ConfigErrors> {
    let mut root = match yaml::parse(text) {
        Ok(root) => root,
        Err(finding) => {
            return Err(ConfigErrors::new(vec![Source::unparsed(file_name).error(&finding)]));
        }
    };
    let written = root.clone();
    let unresolved = interpolate::resolve(&mut root, environment);
    let mut check = Check { factories, report: Report::default() };
    let mut plan = check.file(&root);

    let source = Source::new(file_name, text, &root);
    let findings = merge(unresolved, check.report.findings);
    if findings.is_empty() {
        plan.warnings =
            check.report.warnings.iter().map(|finding| source.warning(finding)).collect();
        plan.effective = effective(&written, &plan, factories);
        return Ok(plan);
    }
    Err(ConfigErrors::new(findings.iter().map(|finding| source.error(finding)).collect()))
}

/// All findings in the order of the file. What is wrong with an unresolved value only follows from that.
fn merge(unresolved: Vec<Finding>, mut findings: Vec<Finding>) -> Vec<Finding> {
    findings.retain(|finding| unresolved.iter().all(|other| other.location != finding.location));
    findings.extend(unresolved);
    findings.sort_by_key(|finding| finding.location);
    findings.truncate(FAULTS_MAX);
    findings
}

struct Check<'factories> {
    factories: &'factories Factories,
    report: Report,
}

impl Check<'_> {
    fn file(&mut self, root: &SettingsNode) -> StoragePlan {
        self.report.expect_mapping(root, "");
        self.report.only_keys(root, "", &[STORAGE]);
        let Some((_, location, storage)) = entry(root, STORAGE) else {
            let place = Location::new(1, 1);
            self.report.findings.push(
                Finding::new(place, format!("the key `{STORAGE}` is missing")).at_key(STORAGE),
            );
            return StoragePlan::default();
        };
        self.storage(storage, *location)
    }

    fn storage(&mut self, storage: &SettingsNode, location: Location) -> StoragePlan {
        self.report.expect_mapping(storage, STORAGE);
        let sections = StoreKind::ALL.map(StoreKind::section);
        self.report.only_keys(storage, STORAGE, &[&sections[..], &[ROUTING]].concat());
        let routing = storage.get(ROUTING);
        if let Some(routing) = routing {
            self.report.expect_mapping(routing, &join(STORAGE, ROUTING));
            self.report.only_keys(routing, &join(STORAGE, ROUTING), &sections);
        }
        let mut plan = StoragePlan::default();
        for store in StoreKind::ALL {
            let route = routing.and_then(|routing| entry(routing, store.section()));
            plan.set(store, self.store(store, entry(storage, store.section()), route));
        }
        if sections.iter().all(|section| storage.get(section).is_none()) {
            self.report
                .warnings
                .push(Finding::new(location, "this configures no store").at_key(STORAGE));
        }
        plan
    }

    fn store(
        &mut self,
        store: StoreKind,
        section: Option<&Entry>,
        route: Option<&Entry>,
    ) -> Option<StorePlan> {
        let Some((name, location, node)) = section else {
            self.refuse_route_without_section(store, route);
            return None;
        };
        let path = join(STORAGE, name);
        self.report.expect_mapping(node, &path);
        let section = Section::read(store, path, *location, node, &mut self.report);
        let blocks = section.configure(self.factories, &mut self.report);
        let route = self.route(&section, route)?;
        Some(StorePlan { route, blocks })
    }

    fn refuse_route_without_section(&mut self, store: StoreKind, route: Option<&Entry>) {
        if let Some((key, location, _)) = route {
            let message = format!("there is no section `{STORAGE}.{}` to route", store.section());
            let path = join(&join(STORAGE, ROUTING), key);
            self.report.findings.push(Finding::new(*location, message).at_key(&path));
        }
    }

    fn route(&mut self, section: &Section<'_>, route: Option<&Entry>) -> Option<Route> {
        let path = join(&join(STORAGE, ROUTING), section.store.section());
        let names = section.block_names();
        self.backend(section, &names);
        // Placed at its key, where "shadow is missing" is reported.
        let node =
            route.map(|(_, location, node)| SettingsNode { location: *location, ..node.clone() });
        let settings = match &node {
            Some(node) => self.routing_settings(node, &path)?,
            None => RoutingSettings::default(),
        };
        let primary = self.primary(section, node.as_ref(), &settings, &path, &names)?;
        let report = &mut self.report;
        let rules = Rules {
            store: section.store,
            settings: &settings,
            node: node.as_ref(),
            path: &path,
            blocks: &names,
            report,
        };
        Some(rules.route(primary))
    }

    fn routing_settings(&mut self, node: &SettingsNode, path: &str) -> Option<RoutingSettings> {
        let known = self.report.findings.len();
        let settings = self.report.read(node.clone(), path, SettingsNode::decode).value();
        self.report.findings[known..].iter_mut().for_each(|finding| finding.shows_value = true);
        settings
    }

    /// `backend` must name a block, also where `routing.primary` wins over it.
    fn backend(&mut self, section: &Section<'_>, names: &[&str]) {
        let Some((node, name)) = section.backend.and_then(|node| Some((node, node.as_text()?)))
        else {
            return;
        };
        let fault = no_such_block(node, name, names);
        self.report
            .findings
            .extend(fault.map(|finding| finding.at_key(&join(&section.path, BACKEND))));
    }

    /// The primary's name: `routing.primary`, else `backend`. It must name a block.
    fn primary(
        &mut self,
        section: &Section<'_>,
        node: Option<&SettingsNode>,
        settings: &RoutingSettings,
        path: &str,
        names: &[&str],
    ) -> Option<String> {
        let backend_path = join(&section.path, BACKEND);
        if let (Some(name), Some(node)) =
            (&settings.primary, node.and_then(|node| node.get("primary")))
        {
            let fault = no_such_block(node, name, names);
            self.report
                .findings
                .extend(fault.map(|finding| finding.at_key(&join(path, "primary"))));
            return Some(name.clone());
        }
        if section.backend.is_none() {
            let finding = Finding::new(section.location, format!("the key `{BACKEND}` is missing"));
            self.report
                .findings
                .push(finding.at_key(&backend_path).with_remedy("name the block to use"));
        }
        section.backend.and_then(SettingsNode::as_text).map(str::to_owned)
    }
}

type Entry = (String, Location, SettingsNode);

fn entry<'node>(node: &'node SettingsNode, key: &str) -> Option<&'node Entry> {
    node.entries().iter().find(|(name, _, _)| name == key)
}

#[cfg(test)]
mod tests;
