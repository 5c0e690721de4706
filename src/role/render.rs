//! minijinja, set up once per host: strict about undefined names, and with the escaping that each file's syntax needs.

use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior, Value};

use super::error::{Place, RoleError};
use super::file::{Text, nearest};
use super::filters;
use crate::assets::{Asset, Assets};

/// Renders templates and the small texts of a role with one context.
pub struct Renderer<'a> {
    environment: Environment<'static>,
    context: Value,
    assets: &'a Assets,
}

impl<'a> Renderer<'a> {
    /// Parse every template; a mistake in one that is not used is a mistake all the same.
    pub fn new(assets: &'a Assets, context: Value) -> Result<Self, RoleError> {
        Ok(Self { environment: environment(assets)?, context, assets })
    }

    /// The text of a template, named as in a role: `etcd/etcd.env.j2`.
    pub(super) fn template(&self, name: &str, named_at: Place) -> Result<String, RoleError> {
        let Some(asset) = self.assets.get(&format!("templates/{name}")) else {
            let known: Vec<&str> =
                self.assets.templates().filter_map(|asset| asset.name.strip_prefix("templates/")).collect();
            let help = match nearest(name, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "list the templates there are: xnat-provision assets list".to_owned(),
            };
            return Err(RoleError::at(named_at, format!("there is no template `{name}`"), help));
        };
        self.whole(&asset)
    }

    /// The text of a template.
    pub fn whole(&self, template: &Asset<'_>) -> Result<String, RoleError> {
        let name = template.name.trim_start_matches("templates/");
        let render = || self.environment.get_template(name)?.render(&self.context);
        render().map_err(|error| self.mistake(template, &error))
    }

    /// A text of a role, which may hold `{{ … }}`.
    pub fn text(&self, role: &Asset<'_>, text: &Text) -> Result<String, RoleError> {
        self.environment
            .render_named_str("role", text.get_ref(), &self.context)
            .map_err(|error| RoleError::at(Place::new(role, text.span()), reason(&error), self.help(&error)))
    }

    /// Is a `when` true?
    pub fn holds(&self, role: &Asset<'_>, when: &Text) -> Result<bool, RoleError> {
        let evaluate = || {
            let value = self.environment.compile_expression(when.get_ref())?.eval(&self.context)?;
            if value.is_undefined() {
                return Err(minijinja::Error::new(ErrorKind::UndefinedError, "it names a value that does not exist"));
            }
            Ok(value.is_true())
        };
        evaluate().map_err(|error| RoleError::at(Place::new(role, when.span()), reason(&error), self.help(&error)))
    }

    /// The error of a template, which may come from another that it includes.
    fn mistake(&self, asset: &Asset<'_>, error: &minijinja::Error) -> RoleError {
        let named = error.name().and_then(|name| self.assets.get(&format!("templates/{name}")));
        mistake(&named.unwrap_or(*asset), error, self.help(error))
    }

    fn help(&self, error: &minijinja::Error) -> String {
        match error.kind() {
            ErrorKind::UndefinedError => {
                let known: Vec<String> =
                    self.context.try_iter().into_iter().flatten().map(|key| key.to_string()).collect();
                format!("look up the values there are: {}", known.join(", "))
            }
            ErrorKind::UnknownFilter => {
                format!("the filters besides minijinja's are {}", filters::NAMES.join(", "))
            }
            _ => "compare with the built-in file: xnat-provision assets export DIR".to_owned(),
        }
    }
}

/// Strict, with the trailing newline kept, and with JSON scalars in YAML. The escaping is chosen here and not left to
/// minijinja's guess by extension, so that nobody toggles it by renaming a file.
pub fn environment(assets: &Assets) -> Result<Environment<'static>, RoleError> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    let mut syntax = environment.syntax().to_builder();
    // Tags on lines of their own leave no trace.
    let syntax = syntax.keep_trailing_newline(true).trim_blocks(true).lstrip_blocks(true).build();
    environment.set_syntax(syntax.expect("the default delimiters"));
    environment.set_auto_escape_callback(
        |name| {
            if name.ends_with(".yml.j2") { AutoEscape::Json } else { AutoEscape::None }
        },
    );
    environment.set_formatter(|out, state, value| match state.auto_escape() {
        AutoEscape::Json if !value.is_safe() => Ok(out.write_str(&filters::json(value)?)?),
        _ => minijinja::escape_formatter(out, state, value),
    });
    filters::add_to(&mut environment);
    for asset in assets.templates() {
        let name = asset.name.trim_start_matches("templates/").to_owned();
        environment.add_template_owned(name, asset.text.to_owned()).map_err(|error| {
            mistake(&asset, &error, "compare with the built-in file: xnat-provision assets export DIR".to_owned())
        })?;
    }
    Ok(environment)
}

fn mistake(asset: &Asset<'_>, error: &minijinja::Error, help: String) -> RoleError {
    let start_of = |line: usize| asset.text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let range = error.range().or_else(|| error.line().map(|line| start_of(line)..start_of(line)));
    RoleError::at(Place::new(asset, range.unwrap_or(0..0)), reason(error), help)
}

/// What happened, in words, without the place, which is shown beside it.
fn reason(error: &minijinja::Error) -> String {
    match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    }
}
