//! Names that the kernel wants, in fixed arrays of UTF-16.

/// A name of at most 48 characters, all of them ASCII.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name {
    units: [u16; 48],
    len: usize,
}

impl Name {
    /// `\Device\SparseDisk7`: the disk as the kernel names it.
    #[must_use]
    pub fn device(disk: u32) -> Self {
        let mut name = Self::of(r"\Device\SparseDisk");
        let mut digits = [0; 10];
        let mut first = digits.len();
        let mut rest = disk;
        loop {
            first -= 1;
            digits[first] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        digits[first..].iter().for_each(|&digit| name.push(digit));
        name
    }

    /// `\DosDevices\X:`: the drive letter as the Mount Manager wants it.
    #[must_use]
    pub fn letter(letter: u8) -> Self {
        let mut name = Self::of(r"\DosDevices\");
        name.push(letter);
        name.push(b':');
        name
    }

    /// `\DosDevices\Global\X:`: the drive letter for every session, whichever of them asks for the symbolic link.
    #[must_use]
    pub fn global_letter(letter: u8) -> Self {
        let mut name = Self::of(r"\DosDevices\Global\");
        name.push(letter);
        name.push(b':');
        name
    }

    /// A name given as ASCII; what is beyond 48 characters is left out.
    #[must_use]
    pub fn of(ascii: &str) -> Self {
        let mut name = Self { units: [0; 48], len: 0 };
        ascii.bytes().for_each(|byte| name.push(byte));
        name
    }

    fn push(&mut self, ascii: u8) {
        debug_assert!(ascii.is_ascii());
        if let Some(place) = self.units.get_mut(self.len) {
            *place = u16::from(ascii);
            self.len += 1;
        }
    }

    /// The UTF-16 code units, without a NUL.
    #[must_use]
    pub fn units(&self) -> &[u16] {
        self.units.get(..self.len).unwrap_or_default()
    }

    /// How many bytes the name is long as UTF-16.
    #[must_use]
    pub const fn len_bytes(&self) -> u16 {
        // At most 48 characters.
        (self.len * 2) as u16
    }

    /// The bytes of the UTF-16, little endian.
    pub(crate) fn bytes(&self) -> impl Iterator<Item = u8> + '_ {
        self.units().iter().flat_map(|unit| unit.to_le_bytes())
    }
}

/// The drive letter that `\DosDevices\X:` or `\??\X:` names.
pub(crate) fn letter_of(utf16: &[u8]) -> Option<u8> {
    let (units, _) = utf16.as_chunks::<2>();
    let is = |name: &[[u8; 2]], ascii: &str| name.iter().copied().eq(ascii.bytes().map(|byte| [byte, 0]));
    let (directory, tail) = units.split_at_checked(units.len().checked_sub(2)?)?;
    match tail {
        [[letter, 0], [b':', 0]] if is(directory, r"\DosDevices\") || is(directory, r"\??\") => {
            let letter = letter.to_ascii_uppercase();
            letter.is_ascii_uppercase().then_some(letter)
        }
        _ => None,
    }
}
