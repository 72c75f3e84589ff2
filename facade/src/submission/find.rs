//! Which Model a name means, among those that an endpoint offers. Pure.

use crate::catalog::{EndpointView, FileView, ModelView};

use super::error::{UnusableModel, WhyUnusable};

/// Names listed in an error at most.
pub(super) const NAMES_SHOWN: usize = 20;

/// May jobs of this endpoint use the Model?
pub(super) fn offered(endpoint: &EndpointView, model: &ModelView) -> bool {
    endpoint.any_model || endpoint.models.contains(&model.name)
}

/// The Model of `available`, all of `model_type`, that a client calls `name`, with the file that is meant.
/// `called`: is this Model called so? Of several, one that is offered and Ready comes first.
pub(super) fn find(
    available: &[ModelView],
    endpoint: &EndpointView,
    model_type: &'static str,
    name: &str,
    called: impl Fn(&ModelView) -> bool,
) -> Result<(ModelView, FileView), UnusableModel> {
    let unusable = |why| UnusableModel { model_type, name: shown(name), why };
    let called: Vec<&ModelView> = available.iter().filter(|model| called(model)).collect();
    if called.is_empty() {
        let known = available.iter().filter(|model| offered(endpoint, model) && model.ready.holds);
        let known = known.map(|model| model.display_name.clone()).take(NAMES_SHOWN).collect();
        return Err(unusable(WhyUnusable::Unknown { known }));
    }
    let offered = || called.iter().filter(|model| offered(endpoint, model));
    let Some(first) = offered().next() else {
        return Err(unusable(WhyUnusable::NotListed { endpoint: endpoint.name.clone() }));
    };
    let ready =
        offered().filter(|model| model.ready.holds).find_map(|model| Some((model, model.file_called(name)?)));
    ready.map(|(model, file)| ((*model).clone(), file.clone())).ok_or_else(|| {
        let (reason, message) = (first.ready.reason.clone(), first.ready.message.clone());
        unusable(WhyUnusable::NotReady { reason, message })
    })
}

/// A caller's word, short enough to be repeated to him.
pub(super) fn shown(name: &str) -> String {
    name.chars().take(128).collect()
}
