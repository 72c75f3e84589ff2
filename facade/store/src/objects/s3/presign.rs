//! Presigned URLs. Signing is arithmetic: no request is made.

use std::time::Duration;

use aws_sdk_s3::config::Builder;
use aws_sdk_s3::presigning::PresigningConfig;

use super::client::S3Store;
use crate::objects::{Audience, MAX_EXPIRY, ObjectError, ObjectKey, PresignedUrl, ResponseHeaders};

impl S3Store {
    fn signed_for(&self, audience: &Audience) -> Result<Builder, ObjectError> {
        Ok(aws_sdk_s3::Config::builder().endpoint_url(self.address(audience)?.as_str()))
    }

    pub(super) async fn sign_get(
        &self,
        key: &ObjectKey,
        audience: &Audience,
        expires: Duration,
        response: &ResponseHeaders,
    ) -> Result<PresignedUrl, ObjectError> {
        let request = self
            .client
            .get_object()
            .bucket(&*self.bucket)
            .key(key.as_str())
            .set_response_content_type(response.content_type.clone())
            .set_response_content_disposition(response.file_name.as_deref().map(disposition))
            .customize()
            .config_override(self.signed_for(audience)?)
            .presigned(lifetime(expires)?)
            .await
            .map_err(|error| self.asked("sign a GET of", key.as_str()).failed(error))?;
        Ok(PresignedUrl::new(request.uri().to_owned()))
    }

    pub(super) async fn sign_put(
        &self,
        key: &ObjectKey,
        audience: &Audience,
        expires: Duration,
        content_type: Option<&str>,
    ) -> Result<PresignedUrl, ObjectError> {
        let request = self
            .client
            .put_object()
            .bucket(&*self.bucket)
            .key(key.as_str())
            .set_content_type(content_type.map(str::to_owned))
            .customize()
            .config_override(self.signed_for(audience)?)
            .presigned(lifetime(expires)?)
            .await
            .map_err(|error| self.asked("sign a PUT of", key.as_str()).failed(error))?;
        Ok(PresignedUrl::new(request.uri().to_owned()))
    }

    pub(super) async fn sign_part(
        &self,
        key: &ObjectKey,
        upload_id: &str,
        part: u32,
        audience: &Audience,
        expires: Duration,
    ) -> Result<PresignedUrl, ObjectError> {
        let request = self
            .client
            .upload_part()
            .bucket(&*self.bucket)
            .key(key.as_str())
            .upload_id(upload_id)
            .part_number(part_number(part)?)
            .customize()
            .config_override(self.signed_for(audience)?)
            .presigned(lifetime(expires)?)
            .await
            .map_err(|error| self.asked("sign a part of", key.as_str()).failed(error))?;
        Ok(PresignedUrl::new(request.uri().to_owned()))
    }
}

/// S3 counts parts from 1 to 10,000.
pub(super) fn part_number(part: u32) -> Result<i32, ObjectError> {
    let number = i32::try_from(part).ok().filter(|number| (1..=10_000).contains(number));
    let problem = || format!("{part} is not between 1 and 10000");
    number.ok_or_else(|| ObjectError::Invalid { what: "the number of a part", problem: problem() })
}

fn lifetime(expires: Duration) -> Result<PresigningConfig, ObjectError> {
    // Whole seconds are what the URL can say.
    let expires = Duration::from_secs(expires.min(MAX_EXPIRY).as_secs().max(1));
    let invalid = |problem: aws_sdk_s3::presigning::PresigningConfigError| ObjectError::Invalid {
        what: "the life of a presigned URL",
        problem: problem.to_string(),
    };
    PresigningConfig::expires_in(expires).map_err(invalid)
}

/// `Content-Disposition` after RFC 6266: the name as ASCII for old clients, and in full.
fn disposition(file_name: &str) -> String {
    let plain = |c: char| if c.is_ascii_graphic() && !"\"\\%".contains(c) || c == ' ' { c } else { '_' };
    let ascii: String = file_name.chars().map(plain).collect();
    let mut full = String::new();
    for byte in file_name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                full.push(char::from(byte))
            }
            _ => full.push_str(&format!("%{byte:02X}")),
        }
    }
    format!("inline; filename=\"{ascii}\"; filename*=UTF-8''{full}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_cannot_break_out_of_its_header() {
        let cases = [
            ("a b.png", "inline; filename=\"a b.png\"; filename*=UTF-8''a%20b.png"),
            ("\"\r\nX: y", "inline; filename=\"___X: y\"; filename*=UTF-8''%22%0D%0AX%3A%20y"),
            ("ü%.png", "inline; filename=\"__.png\"; filename*=UTF-8''%C3%BC%25.png"),
        ];
        for (name, want) in cases {
            assert_eq!(disposition(name), want);
        }
    }

    #[test]
    fn parts_are_counted_from_one() {
        for (part, good) in [(0, false), (1, true), (10_000, true), (10_001, false), (u32::MAX, false)] {
            assert_eq!(part_number(part).is_ok(), good, "{part}");
        }
    }
}
