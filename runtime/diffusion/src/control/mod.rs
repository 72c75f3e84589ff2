//! ControlNets: what steers a picture's composition besides its prompt.

pub mod preprocess;
